// Depthwise convolution over time, and the gradient of the weights of one over time and frequency; channels last and
// contiguous. asr/kernels/depthwise.py tells what is what.
#include <cstdint>
#include <cstring>
#include <vector>

namespace {

constexpr int kLanes = 16, kRegisters = 4, kTaps = 8;  // taps whose sums are kept in registers
typedef float Lanes __attribute__((vector_size(kLanes * sizeof(float))));

inline Lanes load(const float* from) {
    Lanes x;
    std::memcpy(&x, from, sizeof x);
    return x;
}

inline void store(float* to, Lanes x) { std::memcpy(to, &x, sizeof x); }

inline int64_t most(int64_t a, int64_t b) { return a > b ? a : b; }
inline int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

// One output frame of `registers` times kLanes channels. first: the frame at tap 0, from the first of the channels on.
template <int registers>
void convolve(int64_t low, int64_t high, int64_t channels, const float* first, const float* weight, const float* bias,
              float* to) {
    Lanes sum[registers];
    for (int r = 0; r < registers; ++r) sum[r] = bias ? load(bias + r * kLanes) : Lanes{};
    for (int64_t k = low; k < high; ++k) {
        for (int r = 0; r < registers; ++r) {
            const int64_t at = k * channels + r * kLanes;
            sum[r] += load(first + at) * load(weight + at);
        }
    }
    for (int r = 0; r < registers; ++r) store(to + r * kLanes, sum[r]);
}

// Adds what one utterance gives to the sums of some taps, of kLanes channels; the first one reads frame t + moved of x.
template <int taps>
void add_taps(int64_t frames, int64_t frames_out, int64_t channels, int64_t moved, const float* x, const float* grad,
              float* out) {
    Lanes sum[taps];
    for (int k = 0; k < taps; ++k) sum[k] = load(out + k * channels);
    for (int64_t t = 0; t < frames_out; ++t) {
        const Lanes given = load(grad + t * channels);
        const float* from = x + (t + moved) * channels;
        if (t + moved >= 0 && t + moved + taps <= frames) {
            for (int k = 0; k < taps; ++k) sum[k] += given * load(from + k * channels);
        } else {
            for (int k = 0; k < taps; ++k) {
                if (t + moved + k >= 0 && t + moved + k < frames) sum[k] += given * load(from + k * channels);
            }
        }
    }
    for (int k = 0; k < taps; ++k) store(out + k * channels, sum[k]);
}

// Zeros, aligned so that no register is read from two lines of the cache.
class Room {
  public:
    explicit Room(int64_t rows) : lanes_(rows, Lanes{}) {}
    float* data() { return reinterpret_cast<float*>(lanes_.data()); }
    const float* data() const { return reinterpret_cast<const float*>(lanes_.data()); }

  private:
    std::vector<Lanes> lanes_;
};

// Some of the channels of a frame, `count` of them from `from` on, become (width, kLanes).
void gather(int64_t width, int64_t channels, int64_t count, const float* from, float* to) {
    for (int64_t f = 0; f < width; ++f, from += channels, to += kLanes) {
        if (count == kLanes) {  // a size known beforehand: one register
            std::memcpy(to, from, kLanes * sizeof(float));
        } else {
            std::memcpy(to, from, count * sizeof(float));
        }
    }
}

// The last K frames of one block of channels, with zeros on both sides of the frequencies.
class Window {
  public:
    Window(int64_t kernel, int64_t width)
        : kernel_(kernel), size_((width + kernel - 1) * kLanes), rows_(kernel * (width + kernel - 1)) {}

    // A frame (width, channels), in place of the one K frames earlier.
    void read(int64_t t, int64_t width, int64_t channels, int64_t count, const float* frame) {
        gather(width, channels, count, frame, rows_.data() + t % kernel_ * size_ + kernel_ / 2 * kLanes);
    }

    const float* row(int64_t t) const { return rows_.data() + t % kernel_ * size_; }

  private:
    int64_t kernel_, size_;
    Room rows_;
};

// One output frame's gradient times the window, to taps (kernel, kernel, kLanes).
template <int kernel>
void add_image_taps(int64_t width, int64_t first, const float* grad, const Window& window, float* taps) {
    for (int i = 0; i < kernel; ++i, taps += kernel * kLanes) {
        const float* x = window.row(first + i);
        Lanes sum[kernel];
        for (int j = 0; j < kernel; ++j) sum[j] = load(taps + j * kLanes);
        for (int64_t f = 0; f < width; ++f, x += kLanes) {
            const Lanes given = load(grad + f * kLanes);
            for (int j = 0; j < kernel; ++j) sum[j] += given * load(x + j * kLanes);
        }
        for (int j = 0; j < kernel; ++j) store(taps + j * kLanes, sum[j]);
    }
}

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
            for (; c + kRegisters * kLanes <= channels; c += kRegisters * kLanes) {
                convolve<kRegisters>(low, high, channels, first + c, weight + c, bias ? bias + c : nullptr, to + c);
            }
            for (; c + kLanes <= channels; c += kLanes) {
                convolve<1>(low, high, channels, first + c, weight + c, bias ? bias + c : nullptr, to + c);
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
    const int64_t whole = channels / kLanes * kLanes;
    for (int64_t b = 0; b < batch; ++b, x += frames * channels, grad += frames_out * channels) {
        for (int64_t c = 0; c < whole; c += kLanes) {
            int64_t k = 0;
            for (; k + kTaps <= kernel; k += kTaps) {
                add_taps<kTaps>(frames, frames_out, channels, k - padding, x + c, grad + c, out + k * channels + c);
            }
            for (; k < kernel; ++k) {
                add_taps<1>(frames, frames_out, channels, k - padding, x + c, grad + c, out + k * channels + c);
            }
        }
        for (int64_t k = 0; k < kernel; ++k) {
            for (int64_t t = most(0, padding - k); t < least(frames_out, frames + padding - k); ++t) {
                for (int64_t c = whole; c < channels; ++c) {
                    out[k * channels + c] += grad[t * channels + c] * x[(t + k - padding) * channels + c];
                }
            }
        }
    }
}

// out (K, K, C), K being 3, 5 or 7: the sum over frames of grad (B, T - K + 1, F, C) times x (B, T, F, C) moved by each
// tap.
void depthwise_image_weight_grad(int64_t batch, int64_t frames, int64_t width, int64_t channels, int64_t kernel,
                                 const float* x, const float* grad, float* out) {
    const auto add = kernel == 3 ? add_image_taps<3> : kernel == 5 ? add_image_taps<5> : add_image_taps<7>;
    const int64_t size = width * channels, before = kernel - 1;
    for (int64_t c = 0; c < channels; c += kLanes) {
        const int64_t count = least(kLanes, channels - c);
        Room taps(kernel * kernel), given(width);
        Window window(kernel, width);
        for (int64_t b = 0; b < batch; ++b) {
            for (int64_t t = 0; t < frames; ++t) {
                window.read(t, width, channels, count, x + (b * frames + t) * size + c);
                if (t < before) continue;
                gather(width, channels, count, grad + (b * (frames - before) + t - before) * size + c, given.data());
                add(width, t - before, given.data(), window, taps.data());
            }
        }
        for (int64_t k = 0; k < kernel * kernel; ++k) {
            std::memcpy(out + k * channels + c, taps.data() + k * kLanes, count * sizeof(float));
        }
    }
}
}
