// What the encoder does between matrix products: Swoosh and its derivative, the softmax of attention scores, gates and
// norms, each in one pass over rows, and the Balancer's correction in two; the Python files of the same names give the
// equations.
#include <cmath>
#include <cstdint>
#include <cstring>
#include <vector>

namespace {

// exp for x <= 0, zero below -87, to two units in the last place; written out so that loops around it become vector code.
inline float exp_negative(float x) {
    const float kept = x < -87.0f ? 0.0f : 1.0f;
    x = x < -87.0f ? -87.0f : x;
    const float shifted = x * 1.44269504f + 12582912.0f;  // its low bits now hold the nearest power of two
    const float power = shifted - 12582912.0f;
    const float rest = (x - power * 0.693359375f) + power * 2.12194440e-4f;
    float y = 1.9875691500e-4f;
    y = y * rest + 1.3981999507e-3f;
    y = y * rest + 8.3334519073e-3f;
    y = y * rest + 4.1665795894e-2f;
    y = y * rest + 1.6666665459e-1f;
    y = y * rest + 5.0000001201e-1f;
    y = y * rest * rest + rest + 1.0f;
    const int32_t exponent = (static_cast<int32_t>(power) + 127) << 23;
    float scale;
    std::memcpy(&scale, &exponent, sizeof scale);
    return y * scale * kept;
}

// log(1 + e) for 0 <= e <= 1: twice the artanh of e / (2 + e), as a series.
inline float log_one_plus(float e) {
    const float s = e / (2.0f + e), q = s * s;
    float sum = 1.0f / 15.0f;
    sum = sum * q + 1.0f / 13.0f;
    sum = sum * q + 1.0f / 11.0f;
    sum = sum * q + 1.0f / 9.0f;
    sum = sum * q + 1.0f / 7.0f;
    sum = sum * q + 1.0f / 5.0f;
    sum = sum * q + 1.0f / 3.0f;
    return 2.0f * (s + s * q * sum);
}

constexpr float kSlope = 0.08f;

inline float value(float x, float shift, float offset) {
    const float z = x - shift, above = z > 0.0f ? z : 0.0f;
    return above + log_one_plus(exp_negative(-std::fabs(z))) - kSlope * x - offset;
}

inline float widen(float x) { return x; }

inline float widen(uint16_t x) {
    const uint32_t bits = static_cast<uint32_t>(x) << 16;
    float y;
    std::memcpy(&y, &bits, sizeof y);
    return y;
}

// To the nearest bfloat16, of two the even one.
inline uint16_t narrow(float x) {
    uint32_t bits;
    std::memcpy(&bits, &x, sizeof bits);
    const uint32_t rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
    return static_cast<uint16_t>(x == x ? rounded : 0x7fc0);
}

template <typename Input>
void narrow_swoosh(int64_t count, const Input* x, float shift, float offset, uint16_t* out) {
#pragma omp simd
    for (int64_t i = 0; i < count; ++i) out[i] = narrow(value(widen(x[i]), shift, offset));
}

// One row of the backward pass, with what is constant along it settled at compile time.
template <bool kScale, bool kValue>
void backward_row(int64_t channels, const float* x, const float* scale, float shift, float offset, const float* grad,
                  float* grad_x, float* out) {
#pragma omp simd
    for (int64_t c = 0; c < channels; ++c) {
        const float z = x[c] - shift, e = exp_negative(-std::fabs(z));
        const float factor = kScale ? scale[c] : 1.0f, above = z > 0.0f ? z : 0.0f;
        if (kValue) out[c] = (above + log_one_plus(e) - kSlope * x[c] - offset) * factor;
        grad_x[c] = grad[c] * ((z > 0.0f ? 1.0f : e) / (1.0f + e) - kSlope) * factor;
    }
}

// One row of scores, of which one is visible at least, becomes its softmax. shifted: rows of the table of offsets, `width`
// apart, that begin at this row's first source.
void softmax_row(int64_t sources, int64_t dims, int64_t width, const float* query, const float* shifted,
                 const uint8_t* visible, float* row) {
    for (int64_t d = 0; d < dims; ++d) {
        const float q = query[d], *by_source = shifted + d * width;
#pragma omp simd
        for (int64_t s = 0; s < sources; ++s) row[s] += q * by_source[s];
    }
    float largest = -INFINITY, sum = 0.0f, poison = 0.0f;  // of what is not finite the whole row is to tell
#pragma omp simd reduction(max : largest)
    for (int64_t s = 0; s < sources; ++s) {
        const float seen = visible[s] ? row[s] : -INFINITY;
        largest = seen > largest ? seen : largest;
    }
#pragma omp simd reduction(+ : sum, poison)
    for (int64_t s = 0; s < sources; ++s) {
        const float below = row[s] - largest, e = visible[s] ? exp_negative(below < 0.0f ? below : 0.0f) : 0.0f;
        poison += visible[s] ? below * 0.0f : 0.0f;
        row[s] = e;
        sum += e;
    }
    const float scale = 1.0f / sum + poison;
#pragma omp simd
    for (int64_t s = 0; s < sources; ++s) row[s] *= scale;
}

// Gradient a + b x of how far a channel's mean / stddev and rms lie beyond their limits, scaled to an rms of 1.
struct Slope {
    double a = 0.0, b = 0.0;
};

Slope loss_slope(double mean, double mean_square, const float* limits) {
    constexpr double kTiny = 1e-20;
    const double variance = mean_square - mean * mean;
    const double stddev = std::sqrt(variance > kTiny ? variance : kTiny);
    const double rms = std::sqrt(mean_square > kTiny ? mean_square : kTiny), ratio = mean / stddev;
    const double sign_mean = (ratio > limits[1]) - (ratio < limits[0]);
    const double sign_rms = (rms > limits[3]) - (rms < limits[2]);
    // Where a floor is in force, the statistic under it does not move with x.
    const double cubed = variance > kTiny ? 1.0 / (stddev * stddev * stddev) : 0.0;
    const double a = sign_mean * (1.0 / stddev + mean * mean * cubed);
    const double b = (mean_square > kTiny ? sign_rms / mean_square : 0.0) - sign_mean * mean * cubed;
    const double size = std::sqrt(std::fmax(a * a + 2.0 * a * b * mean + b * b * mean_square, 0.0));
    return size > kTiny ? Slope{a / size, b / size} : Slope{};
}

// Adds each channel's sum and sum of squares over `rows` rows to the totals, in float32 first: few enough for that.
void add_moments(int64_t rows, int64_t channels, const float* x, float* part, double* total) {
    std::memset(part, 0, 2 * channels * sizeof(float));
    for (int64_t row = 0; row < rows; ++row, x += channels) {
#pragma omp simd
        for (int64_t c = 0; c < channels; ++c) {
            part[c] += x[c];
            part[channels + c] += x[c] * x[c];
        }
    }
    for (int64_t c = 0; c < 2 * channels; ++c) total[c] += part[c];
}

}  // namespace

extern "C" {

// out = grad + |grad| * (slope of x's channel at x) * grad_scale; x, grad and out are (rows, channels).
void balance(int64_t rows, int64_t channels, float min_mean, float max_mean, float min_rms, float max_rms,
             float grad_scale, const float* x, const float* grad, float* out) {
    constexpr int64_t kBlock = 64;
    const float limits[] = {min_mean, max_mean, min_rms, max_rms};
    std::vector<float> part(2 * channels);
    std::vector<double> total(2 * channels);
    for (int64_t row = 0; row < rows; row += kBlock) {
        const int64_t count = row + kBlock < rows ? kBlock : rows - row;
        add_moments(count, channels, x + row * channels, part.data(), total.data());
    }
    float *a = part.data(), *b = a + channels;
    for (int64_t c = 0; c < channels; ++c) {
        const Slope slope = loss_slope(total[c] / rows, total[channels + c] / rows, limits);
        a[c] = static_cast<float>(slope.a * grad_scale);
        b[c] = static_cast<float>(slope.b * grad_scale);
    }
    for (int64_t row = 0; row < rows; ++row, x += channels, grad += channels, out += channels) {
#pragma omp simd
        for (int64_t c = 0; c < channels; ++c) out[c] = grad[c] + std::fabs(grad[c]) * (a[c] + b[c] * x[c]);
    }
}

// out[i] = swoosh(x[i]) * scale[i / (frames * channels)][i % channels]; scale is (batch, channels), or null for 1.
// out may be x.
void swoosh_forward(int64_t batch, int64_t frames, int64_t channels, const float* x, const float* scale, float shift,
                    float offset, float* out) {
    for (int64_t row = 0; row < batch * frames; ++row, x += channels, out += channels) {
        const float* keep = scale == nullptr ? nullptr : scale + row / frames * channels;
        if (keep == nullptr) {
#pragma omp simd
            for (int64_t c = 0; c < channels; ++c) out[c] = value(x[c], shift, offset);
        } else {
#pragma omp simd
            for (int64_t c = 0; c < channels; ++c) out[c] = value(x[c], shift, offset) * keep[c];
        }
    }
}

// swoosh(x) in bfloat16, of float32 or bfloat16; out may be x.
void swoosh_narrowed(int64_t count, const float* x, float shift, float offset, uint16_t* out) {
    narrow_swoosh(count, x, shift, offset, out);
}

void swoosh_narrow(int64_t count, const uint16_t* x, float shift, float offset, uint16_t* out) {
    narrow_swoosh(count, x, shift, offset, out);
}

// grad: that of the output; grad_x may be the same memory. out, unless null, is worked out again as above.
void swoosh_backward(int64_t batch, int64_t frames, int64_t channels, const float* x, const float* scale, float shift,
                     float offset, const float* grad, float* grad_x, float* out) {
    const auto run = scale == nullptr ? (out == nullptr ? backward_row<false, false> : backward_row<false, true>)
                                      : (out == nullptr ? backward_row<true, false> : backward_row<true, true>);
    for (int64_t row = 0; row < batch * frames; ++row) {
        const int64_t at = row * channels;
        run(channels, x + at, scale == nullptr ? nullptr : scale + row / frames * channels, shift, offset, grad + at,
            grad_x + at, out == nullptr ? nullptr : out + at);
    }
}

// out (batch, frames, channels) = the first half of x (batch, frames, 2 channels) times the sigmoid of the second; zero
// beyond each row's length.
void gate(int64_t batch, int64_t frames, int64_t channels, const float* x, const int64_t* lens, float* out) {
    for (int64_t b = 0; b < batch; ++b) {
        for (int64_t t = 0; t < frames; ++t, x += 2 * channels, out += channels) {
            const float kept = t < lens[b] ? 1.0f : 0.0f;
#pragma omp simd
            for (int64_t c = 0; c < channels; ++c) {
                const float z = x[channels + c], e = exp_negative(-std::fabs(z));
                const float gated = x[c] * (z > 0.0f ? 1.0f : e) / (1.0f + e);
                out[c] = kept > 0.0f ? gated : 0.0f;
            }
        }
    }
}

// grad_x of `gate`, from x and the gradient of its output.
void gate_backward(int64_t batch, int64_t frames, int64_t channels, const float* x, const int64_t* lens,
                   const float* grad, float* grad_x) {
    for (int64_t b = 0; b < batch; ++b) {
        for (int64_t t = 0; t < frames; ++t, x += 2 * channels, grad_x += 2 * channels, grad += channels) {
            if (t >= lens[b]) {
                std::memset(grad_x, 0, 2 * channels * sizeof(float));
                continue;
            }
#pragma omp simd
            for (int64_t c = 0; c < channels; ++c) {
                const float z = x[channels + c], e = exp_negative(-std::fabs(z));
                const float open = (z > 0.0f ? 1.0f : e) / (1.0f + e), shut = (z > 0.0f ? e : 1.0f) / (1.0f + e);
                grad_x[c] = grad[c] * open;
                grad_x[channels + c] = grad[c] * x[c] * open * shut;
            }
        }
    }
}

// out = x * scale / rms(x - bias), row by row; out may be x.
void bias_norm(int64_t rows, int64_t channels, const float* x, const float* bias, float scale, float* out) {
    for (int64_t row = 0; row < rows; ++row, x += channels, out += channels) {
        float sum = 0.0f;
#pragma omp simd reduction(+ : sum)
        for (int64_t c = 0; c < channels; ++c) sum += (x[c] - bias[c]) * (x[c] - bias[c]);
        const float factor = scale / std::sqrt(sum / static_cast<float>(channels));
#pragma omp simd
        for (int64_t c = 0; c < channels; ++c) out[c] = x[c] * factor;
    }
}

// out, as scores (batch, heads, targets, sources) or the same memory: softmax(scores + query table, shifted by target),
// hidden entries and rows that see nothing zero. query (batch, heads, targets, dims); table (heads, dims, width), whose
// column s - t + targets - 1 belongs to source s and target t; visible (batch, targets, sources), with a stride of 0
// where it does not vary.
void positioned_softmax(int64_t batch, int64_t heads, int64_t targets, int64_t sources, int64_t dims, int64_t width,
                        const float* query, const float* table, const uint8_t* visible, int64_t batch_stride,
                        int64_t target_stride, const float* scores, float* out) {
    for (int64_t b = 0; b < batch; ++b) {
        for (int64_t h = 0; h < heads; ++h) {
            for (int64_t t = 0; t < targets; ++t, scores += sources, out += sources, query += dims) {
                const uint8_t* seen = visible + b * batch_stride + t * target_stride;
                if (std::memchr(seen, 1, sources) == nullptr) {
                    std::memset(out, 0, sources * sizeof(float));
                    continue;
                }
                if (out != scores) std::memcpy(out, scores, sources * sizeof(float));
                softmax_row(sources, dims, width, query, table + h * dims * width + targets - 1 - t, seen, out);
            }
        }
    }
}

// Gradients of the above from its output `weights` and that one's gradient; grad_table is zero before.
void positioned_softmax_backward(int64_t batch, int64_t heads, int64_t targets, int64_t sources, int64_t dims,
                                 int64_t width, const float* query, const float* table, const float* weights,
                                 const float* grad, float* grad_scores, float* grad_query, float* grad_table) {
    for (int64_t row = 0; row < batch * heads * targets; ++row) {
        const int64_t h = row / targets % heads, shift = targets - 1 - row % targets;
        float dot = 0.0f;
#pragma omp simd reduction(+ : dot)
        for (int64_t s = 0; s < sources; ++s) dot += weights[s] * grad[s];
#pragma omp simd
        for (int64_t s = 0; s < sources; ++s) grad_scores[s] = weights[s] * (grad[s] - dot);
        for (int64_t d = 0; d < dims; ++d) {
            const int64_t at = (h * dims + d) * width + shift;
            const float *by_source = table + at, q = query[d];
            float *to = grad_table + at, sum = 0.0f;
#pragma omp simd reduction(+ : sum)
            for (int64_t s = 0; s < sources; ++s) {
                sum += grad_scores[s] * by_source[s];
                to[s] += grad_scores[s] * q;
            }
            grad_query[d] = sum;
        }
        weights += sources, grad += sources, grad_scores += sources, query += dims, grad_query += dims;
    }
}
}
