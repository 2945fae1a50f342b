// The two passes of ScaledAdam over a list of n tensors, float32 and contiguous; asr/kernels/scaled_adam.py tells what
// they compute.
#include <cmath>
#include <cstdint>

namespace {
constexpr int64_t kBlock = 4096;  // summed in float32; blocks are summed in float64
}

extern "C" {

// out: (3, n), sums of g*g, of p*g, and, where sizes is not 0, of p*p.
void scaled_adam_sums(int64_t n, const int64_t* numel, const float* const* params, const float* const* grads, int sizes,
                      double* out) {
    for (int64_t i = 0; i < n; ++i) {
        const float *p = params[i], *g = grads[i];
        double gg = 0, pg = 0, pp = 0;
        for (int64_t begin = 0; begin < numel[i]; begin += kBlock) {
            const int64_t end = begin + kBlock < numel[i] ? begin + kBlock : numel[i];
            float block_gg = 0, block_pg = 0, block_pp = 0;
            if (g != nullptr) {
#pragma omp simd reduction(+ : block_gg, block_pg)
                for (int64_t j = begin; j < end; ++j) {
                    block_gg += g[j] * g[j];
                    block_pg += p[j] * g[j];
                }
            }
            if (sizes) {
#pragma omp simd reduction(+ : block_pp)
                for (int64_t j = begin; j < end; ++j) block_pp += p[j] * p[j];
            }
            gg += block_gg;
            pg += block_pg;
            pp += block_pp;
        }
        out[i] = gg;
        out[n + i] = pg;
        out[2 * n + i] = pp;
    }
}

// rates, growth: (n).
void scaled_adam_update(int64_t n, const int64_t* numel, float* const* params, const float* const* grads,
                        float* const* squares, float* const* deltas, const float* rates, const float* growth,
                        float beta1, float beta2, float gain, float eps) {
    for (int64_t i = 0; i < n; ++i) {
        float *p = params[i], *v = squares[i], *d = deltas[i];
        const float* g = grads[i];
        const float rate = rates[i], grow = growth[i];
        if (g != nullptr) {
#pragma omp simd
            for (int64_t j = 0; j < numel[i]; ++j) {
                v[j] = v[j] * beta2 + gain * g[j] * g[j];
                d[j] = d[j] * beta1 + rate * g[j] / (std::sqrt(v[j]) + eps) + grow * p[j];
                p[j] += d[j];
            }
        } else {
#pragma omp simd
            for (int64_t j = 0; j < numel[i]; ++j) {
                v[j] *= beta2;
                d[j] = d[j] * beta1 + grow * p[j];
                p[j] += d[j];
            }
        }
    }
}
}
