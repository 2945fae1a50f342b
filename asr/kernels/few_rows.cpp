// Products with few rows, of which most of the time goes into reading weights; asr/kernels/linear.py tells what is what.
#include <cstdint>
#include <cstring>

namespace {

#if defined(__AVX512F__)
constexpr int kLanes = 16, kRows = 8;
#else
constexpr int kLanes = 8, kRows = 4;
#endif
constexpr int kPanel = 32, kVectors = kPanel / kLanes;
constexpr int64_t kAhead = 64;  // depth by which weights are asked for before they are needed
typedef float Lanes __attribute__((vector_size(kLanes * sizeof(float))));

inline Lanes load(const float* from) {
    Lanes x;
    std::memcpy(&x, from, sizeof x);
    return x;
}

// Rows x (n, depth) times one panel (depth, kPanel), to the first `columns` columns of out, whose rows are `width` apart.
template <int n>
void rows_by_panel(int64_t depth, int64_t width, int64_t columns, const float* x, const float* panel, const float* bias,
                   float* out) {
    Lanes sum[n][kVectors];
    for (int r = 0; r < n; ++r) {
        for (int v = 0; v < kVectors; ++v) sum[r][v] = Lanes{};
    }
    for (int64_t d = 0; d < depth; ++d, panel += kPanel) {
        __builtin_prefetch(panel + kAhead * kPanel);
        __builtin_prefetch(panel + kAhead * kPanel + kPanel / 2);
        Lanes weight[kVectors];
        for (int v = 0; v < kVectors; ++v) weight[v] = load(panel + v * kLanes);
        for (int r = 0; r < n; ++r) {
            for (int v = 0; v < kVectors; ++v) sum[r][v] += x[r * depth + d] * weight[v];
        }
    }
    for (int r = 0; r < n; ++r) {
        float row[kPanel];
        std::memcpy(row, sum[r], sizeof row);
        for (int64_t c = 0; c < columns; ++c) out[r * width + c] = row[c] + (bias == nullptr ? 0.0f : bias[c]);
    }
}

typedef void (*Kernel)(int64_t, int64_t, int64_t, const float*, const float*, const float*, float*);

Kernel kernel_for(int64_t rows) {
    switch (rows) {
        case 1: return rows_by_panel<1>;
        case 2: return rows_by_panel<2>;
        case 3: return rows_by_panel<3>;
#if defined(__AVX512F__)
        case 4: return rows_by_panel<4>;
        case 5: return rows_by_panel<5>;
        case 6: return rows_by_panel<6>;
        case 7: return rows_by_panel<7>;
#endif
        default: return rows_by_panel<kRows>;
    }
}

}  // namespace

extern "C" {

// out (rows, width) = x (rows, depth) times panels, plus bias (width) or null; panels (ceil(width / 32), depth, 32).
void few_rows_linear(int64_t rows, int64_t depth, int64_t width, const float* x, const float* panels, const float* bias,
                     float* out) {
    for (int64_t first = 0; first < width; first += kPanel, panels += depth * kPanel) {
        const int64_t columns = width - first < kPanel ? width - first : kPanel;
        for (int64_t row = 0; row < rows; row += kRows) {
            kernel_for(rows - row)(depth, width, columns, x + row * depth, panels, bias == nullptr ? nullptr : bias + first,
                                   out + row * width + first);
        }
    }
}
}
