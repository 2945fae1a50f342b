// Depthwise convolution over time, channels last and contiguous; asr/kernels/depthwise.py tells what is what.
#include <cstdint>
#include <cstring>

namespace {

constexpr int kLanes = 16, kRegisters = 4, kBlock = kLanes * kRegisters;
typedef float Lanes __attribute__((vector_size(kLanes * sizeof(float))));

inline Lanes load(const float* from) {
    Lanes x;
    std::memcpy(&x, from, sizeof x);
    return x;
}

inline void store(float* to, Lanes x) { std::memcpy(to, &x, sizeof x); }

inline int64_t most(int64_t a, int64_t b) { return a > b ? a : b; }
inline int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

}  // namespace

extern "C" {

// x (B, T, C), weight (K, C), bias (C) or null, out (B, T_out, C).
void depthwise_forward(int64_t batch, int64_t frames, int64_t frames_out, int64_t channels, int64_t kernel,
                       int64_t padding, const float* x, const float* weight, const float* bias, float* out) {
    for (int64_t b = 0; b < batch; ++b) {
        for (int64_t t = 0; t < frames_out; ++t) {
            const float* first = x + (b * frames + t - padding) * channels;
            float* to = out + (b * frames_out + t) * channels;
            const int64_t low = most(0, padding - t), high = least(kernel, frames + padding - t);
            int64_t c = 0;
            for (; c + kBlock <= channels; c += kBlock) {
                Lanes sum[kRegisters];
                for (int r = 0; r < kRegisters; ++r) sum[r] = bias ? load(bias + c + r * kLanes) : Lanes{};
                for (int64_t k = low; k < high; ++k) {
                    for (int r = 0; r < kRegisters; ++r) {
                        const int64_t at = k * channels + c + r * kLanes;
                        sum[r] += load(first + at) * load(weight + at);
                    }
                }
                for (int r = 0; r < kRegisters; ++r) store(to + c + r * kLanes, sum[r]);
            }
            for (; c < channels; ++c) {
                float sum = bias ? bias[c] : 0.0f;
                for (int64_t k = low; k < high; ++k) sum += first[k * channels + c] * weight[k * channels + c];
                to[c] = sum;
            }
        }
    }
}

// out (K, C), zero before, takes the sum over frames of grad (B, T_out, C) times x (B, T, C) moved by each tap.
void depthwise_weight_grad(int64_t batch, int64_t frames, int64_t frames_out, int64_t channels, int64_t kernel,
                           int64_t padding, const float* x, const float* grad, float* out) {
    for (int64_t b = 0; b < batch; ++b) {
        for (int64_t t = 0; t < frames_out; ++t) {
            const float* first = x + (b * frames + t - padding) * channels;
            const float* from = grad + (b * frames_out + t) * channels;
            const int64_t low = most(0, padding - t), high = least(kernel, frames + padding - t);
            for (int64_t k = low; k < high; ++k) {
                const float* moved = first + k * channels;
                float* to = out + k * channels;
#pragma omp simd
                for (int64_t c = 0; c < channels; ++c) to[c] += from[c] * moved[c];
            }
        }
    }
}
}
