// Matrix products of any shape without a plan for each; asr/kernels/product.py tells what is what.
#include <cstdint>
#include <cstring>
#include <vector>

namespace {

// A tile of the output is kRows x kVectors registers; what multiplies it takes kVectors more, and one.
#if defined(__AVX512F__)
constexpr int kLanes = 16, kRows = 8;
#elif defined(__ARM_NEON)
constexpr int kLanes = 4, kRows = 8;
#else
constexpr int kLanes = 8, kRows = 4;
#endif
constexpr int kVectors = 3, kPanel = kVectors * kLanes;
constexpr int64_t kDepth = 320;  // of a panel: 60 kB, which the second cache feeds to row after row of tiles
typedef float Lanes __attribute__((vector_size(kLanes * sizeof(float))));

inline Lanes load(const float* from) {
    Lanes x;
    std::memcpy(&x, from, sizeof x);
    return x;
}

inline int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

// A matrix by its strides, in floats.
struct View {
    const float* data;
    int64_t row, column;

    const float* at(int64_t r, int64_t c) const { return data + r * row + c * column; }
};

// What a tile starts from.
enum class Start { kZero, kBias, kOut };

// out (rows, columns) = start + x (rows, depth) panel (depth, vectors * kLanes). One of x's strides is 1: its column's
// where kAcross, else its row's. Columns beyond `columns` are padding.
template <int rows, int vectors, bool kAcross>
void tile(int64_t depth, View x, const float* panel, const float* bias, Start start, float* out, int64_t out_row,
          int64_t columns) {
    constexpr int kWide = vectors * kLanes;
    const bool whole = columns == kWide;
    Lanes sum[rows][vectors];
    float edge[kWide] = {};
    for (int r = 0; r < rows; ++r) {
        const float* from = start == Start::kBias ? bias : out + r * out_row;
        if (start == Start::kZero) {
            for (int v = 0; v < vectors; ++v) sum[r][v] = Lanes{};
            continue;
        }
        if (!whole) from = static_cast<float*>(std::memcpy(edge, from, columns * sizeof(float)));
        for (int v = 0; v < vectors; ++v) sum[r][v] = load(from + v * kLanes);
    }
    const int64_t stride = kAcross ? x.row : x.column;
    const float* from = x.data;
    for (int64_t d = 0; d < depth; ++d, panel += kWide, from += kAcross ? 1 : stride) {
        Lanes y[vectors];
        for (int v = 0; v < vectors; ++v) y[v] = load(panel + v * kLanes);
        for (int r = 0; r < rows; ++r) {
            const float factor = kAcross ? from[r * stride] : from[r];
            for (int v = 0; v < vectors; ++v) sum[r][v] += factor * y[v];
        }
    }
    for (int r = 0; r < rows; ++r) std::memcpy(out + r * out_row, sum[r], columns * sizeof(float));
}

typedef void (*Tile)(int64_t, View, const float*, const float*, Start, float*, int64_t, int64_t);

template <int vectors, bool kAcross>
Tile tile_of(int64_t rows) {
    switch (rows) {
        case 1: return tile<1, vectors, kAcross>;
        case 2: return tile<2, vectors, kAcross>;
        case 3: return tile<3, vectors, kAcross>;
        case 4: return tile<4, vectors, kAcross>;
#if defined(__AVX512F__) || defined(__ARM_NEON)
        case 5: return tile<5, vectors, kAcross>;
        case 6: return tile<6, vectors, kAcross>;
        case 7: return tile<7, vectors, kAcross>;
#endif
        default: return tile<kRows, vectors, kAcross>;
    }
}

template <bool kAcross>
Tile tile_of(int64_t rows, int64_t vectors) {
    if (vectors == 1) return tile_of<1, kAcross>(rows);
    if (vectors == 2) return tile_of<2, kAcross>(rows);
    return tile_of<3, kAcross>(rows);
}

int64_t vectors_of(int64_t columns) { return (columns + kLanes - 1) / kLanes; }

// Copies y (depth, columns), columns <= kPanel, to rows of whole vectors, filled up with zeros.
void pack(int64_t depth, int64_t columns, View y, float* panel) {
    const int64_t wide = vectors_of(columns) * kLanes;
    if (columns < wide) std::memset(panel, 0, depth * wide * sizeof(float));
    if (y.column == 1) {
        for (int64_t d = 0; d < depth; ++d) std::memcpy(panel + d * wide, y.at(d, 0), columns * sizeof(float));
        return;
    }
    constexpr int64_t kBlock = 16;  // rows of a panel that are written together, while they are in the first cache
    for (int64_t first = 0; first < depth; first += kBlock) {
        const int64_t count = least(kBlock, depth - first);
        for (int64_t c = 0; c < columns; ++c) {
            const float* from = y.at(first, c);
            float* to = panel + first * wide + c;
            for (int64_t d = 0; d < count; ++d) to[d * wide] = from[d * y.row];
        }
    }
}

}  // namespace

extern "C" {

// out (rows, width) = x (rows, depth) y (depth, width) + bias, or, with `add`, out + x y. bias (width) may be null. x
// and y come with the strides of their rows and columns, of which one is 1; out is contiguous. depth is not 0.
void product(int64_t rows, int64_t depth, int64_t width, const float* x, int64_t x_row, int64_t x_column,
             const float* y, int64_t y_row, int64_t y_column, const float* bias, int64_t add, float* out) {
    thread_local std::vector<float> room;
    room.resize(least(depth, kDepth) * vectors_of(width) * kLanes);
    const View left{x, x_row, x_column}, right{y, y_row, y_column};
    for (int64_t first = 0; first < depth; first += kDepth) {
        const int64_t count = least(kDepth, depth - first);
        for (int64_t c = 0; c < width; c += kPanel) {
            pack(count, least(kPanel, width - c), View{right.at(first, c), y_row, y_column}, room.data() + count * c);
        }
        const Start start = first > 0 || add ? Start::kOut : bias != nullptr ? Start::kBias : Start::kZero;
        for (int64_t r = 0; r < rows; r += kRows) {
            const View part{left.at(r, first), x_row, x_column};
            for (int64_t c = 0; c < width; c += kPanel) {
                const int64_t columns = least(kPanel, width - c), vectors = vectors_of(columns);
                const int64_t tall = least(kRows, rows - r);
                const Tile run = x_column == 1 ? tile_of<true>(tall, vectors) : tile_of<false>(tall, vectors);
                run(count, part, room.data() + count * c, bias == nullptr ? nullptr : bias + c, start,
                    out + r * width + c, width, columns);
            }
        }
    }
}
}
