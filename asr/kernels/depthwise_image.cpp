// The gradient of the weights of a depthwise convolution over time and frequency, channels last and contiguous;
// asr/kernels/depthwise.py tells what is what.
#include <cstdint>
#include <cstring>
#include <vector>

namespace {

constexpr int kLanes = 16;  // channels of a register
typedef float Lanes __attribute__((vector_size(kLanes * sizeof(float))));

inline Lanes load(const float* from) {
    Lanes x;
    std::memcpy(&x, from, sizeof x);
    return x;
}

inline void store(float* to, Lanes x) { std::memcpy(to, &x, sizeof x); }

// Zeros, aligned so that no register is read from two lines of the cache.
class Room {
  public:
    explicit Room(int64_t rows) : lanes_(rows, Lanes{}) {}
    float* data() { return reinterpret_cast<float*>(lanes_.data()); }
    const float* data() const { return reinterpret_cast<const float*>(lanes_.data()); }

  private:
    std::vector<Lanes> lanes_;
};

inline int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

// Some of the channels of a frame, `count` of them from `from` on, become (width, kLanes).
void gather(int64_t width, int64_t channels, int64_t count, const float* from, float* to) {
    for (int64_t f = 0; f < width; ++f, from += channels, to += kLanes) {
        if (count == kLanes) {
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
void add_taps(int64_t width, int64_t first, const float* grad, const Window& window, float* taps) {
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

// out (K, K, C) = the sum over frames of grad (B, T - K + 1, F, C) times x (B, T, F, C) moved by each tap. K is 3, 5 or 7.
void depthwise_image_weight_grad(int64_t batch, int64_t frames, int64_t width, int64_t channels, int64_t kernel,
                                 const float* x, const float* grad, float* out) {
    const auto add = kernel == 3 ? add_taps<3> : kernel == 5 ? add_taps<5> : add_taps<7>;
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
