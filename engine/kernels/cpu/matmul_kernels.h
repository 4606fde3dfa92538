// matmul_kernels.h: int8 matrix product and its epilogue over the instruction set's dot_tile().
// Included by the *_kernels.cpp of this folder only; see lanes.h.
#pragma once

#include "engine/kernels/cpu/int4_kernels.h"

namespace {

// Weights with flipped sign bits are w + 128: the surplus is 128 * sum_k x, exact in int32 because
// two's complement wraps and the true result fits (cols <= 131,072).
HEARTH_INLINE Ints without_offset(const Ints& acc, std::int32_t row_sum) {
    return kFlip == 0 ? acc : minus_wrapping(acc, row_sum * 128);
}

// A row tile's share of the lines to ask memory for, spread evenly over the products of all tiles
// of the panel.
HEARTH_INLINE Ahead ahead_of(const MatmulTask& task, std::int32_t tile, std::int32_t tiles) {
    if (task.ahead_lines == 0) return {};
    const std::int32_t every = task.ahead_lines / tiles;
    const std::int32_t by_span = (task.ahead_lines * kAheadSpan + tiles - 1) / tiles;
    const std::ptrdiff_t share = task.w->groups / kAheadSpan * by_span * 64;
    return {task.ahead + tile * share, every, by_span - every * kAheadSpan};
}

// Scales the sums of one row and block, and writes them.
HEARTH_INLINE void finish(const PackedView& w, const QuantRows& x, const MatmulOut& to,
                          std::int32_t row, std::int32_t block, const Ints& acc) {
    const std::int32_t n = block * kLanes;
    float* out = to.out + static_cast<std::ptrdiff_t>(row) * to.stride;
    const Ints exact = without_offset(acc, x.sum[row]);
    Floats v = to_floats(exact) * x.scale[row] * load(w.scale + n);
    if (to.bias != nullptr) v = v + load(to.bias + n);
    if (to.accumulate) v = v + load(out + n);
    store(out + n, v);
}

}  // namespace

#if defined(HEARTH_MATRIX_TILES)
#include "engine/kernels/cpu/tile_matmul.h"
#endif

namespace {

template <std::int32_t kRows, std::int32_t kBlocks>
void matmul_tile(const MatmulTask& task, std::int32_t row, std::int32_t block, Ahead ahead = {}) {
    const PackedView& w = *task.w;
    const QuantRows& x = *task.x;
    const MatmulOut& to = *task.out;
    const auto keep = [&](std::size_t r, std::size_t b, const Ints& acc) HEARTH_FLAT {
        finish(w, x, to, row + static_cast<std::int32_t>(r), block + static_cast<std::int32_t>(b),
               acc);
    };
    dot_tile<kRows, kBlocks>(x.q + static_cast<std::ptrdiff_t>(row) * x.stride, x.stride,
                             block_of(w, block * kLanes), w.groups, keep, ahead);
}

// A tile of `rows` <= kRows rows.
template <std::int32_t kRows, std::int32_t kBlocks>
HEARTH_INLINE void matmul_rows(const MatmulTask& task, std::int32_t rows, std::int32_t row,
                               std::int32_t block, Ahead ahead) {
    if (rows == kRows) return matmul_tile<kRows, kBlocks>(task, row, block, ahead);
    if constexpr (kRows > 1) matmul_rows<kRows - 1, kBlocks>(task, rows, row, block, ahead);
}

// Tiles of rows as even as can be: a last one of a single row would cost nearly as much as a whole.
template <std::int32_t kBlocks>
HEARTH_INLINE void matmul_blocks(const MatmulTask& task, std::int32_t block) {
    const std::int32_t rows = task.row_end - task.row_begin;
    const std::int32_t tiles = (rows + kTileRows - 1) / kTileRows;
    for (std::int32_t tile = 0, from = 0; tile < tiles; ++tile) {
        const std::int32_t to = rows * (tile + 1) / tiles;
        const Ahead ahead = kBlocks == 4 ? ahead_of(task, tile, tiles) : Ahead{};
        matmul_rows<kTileRows, kBlocks>(task, to - from, task.row_begin + from, block, ahead);
        from = to;
    }
}

// The last block where fewer than 16 columns are wanted: by way of a row of 16.
void matmul_edge(const MatmulTask& task, std::int32_t block) {
    const std::int32_t first = block * kLanes, width = task.out->width - first;
    PackedView w = *task.w;
    w.bytes = block_of(w, first);
    w.scale += first;
    float lanes[kLanes] = {};
    MatmulOut to = *task.out;
    to.out = lanes;
    to.stride = 0;
    if (to.bias != nullptr) to.bias += first;
    MatmulTask one = task;
    one.w = &w;
    one.out = &to;
    for (std::int32_t row = task.row_begin; row < task.row_end; ++row) {
        float* out = task.out->out + static_cast<std::ptrdiff_t>(row) * task.out->stride + first;
        for (std::int32_t i = 0; i < width; ++i) lanes[i] = out[i];
        matmul_tile<1, 1>(one, row, 0);
        for (std::int32_t i = 0; i < width; ++i) out[i] = lanes[i];
    }
}

void matmul_int8(const MatmulTask& task) {
    const std::int32_t whole = task.out->width / kLanes;
    const std::int32_t end = task.block_end < whole ? task.block_end : whole;
    std::int32_t block = task.block_begin;
#if defined(HEARTH_MATRIX_TILES)
    if (task.row_end - task.row_begin >= kMatrixRowsMin) {
        block = matmul_in_tiles(
            task, end, [&](std::int32_t row, std::int32_t at, const Ints& acc) HEARTH_FLAT {
                finish(*task.w, *task.x, *task.out, row, at, acc);
            });
    }
#endif
    for (; block + 4 <= end; block += 4) matmul_blocks<4>(task, block);
    for (; block < end; ++block) matmul_blocks<1>(task, block);
    if (task.block_end > whole) matmul_edge(task, whole);
}

// int4 weights are expanded once per task; from there on they are int8.
void matmul(const MatmulTask& task) {
    if (task.w->nibbles == nullptr) return matmul_int8(task);
    expand_int4(*task.w, task.block_begin, task.block_end, task.scratch);
    const std::int32_t first = task.block_begin * kLanes;
    PackedView w = *task.w;
    w.bytes = task.scratch;
    w.scale += first;
    MatmulOut to = *task.out;
    to.out += first;
    to.width -= first;
    if (to.bias != nullptr) to.bias += first;
    MatmulTask expanded = task;
    expanded.w = &w;
    expanded.out = &to;
    expanded.block_begin = 0;
    expanded.block_end -= task.block_begin;
    matmul_int8(expanded);
}

}  // namespace
