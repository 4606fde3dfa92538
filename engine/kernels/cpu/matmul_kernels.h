// matmul_kernels.h: int8 matrix product and its epilogue over the instruction set's dot_tile().
// Included by the *_kernels.cpp of this folder only; see lanes.h.
#pragma once

#include "engine/kernels/cpu/row_kernels.h"

namespace {

// Weights with flipped sign bits are w + 128: the surplus is 128 * sum_k x, exact in int32 because
// two's complement wraps and the true result fits (cols <= 131,072).
HEARTH_INLINE Ints without_offset(Ints acc, std::int32_t row_sum) {
    return kFlip == 0 ? acc : acc - (Ints{} + row_sum * 128);
}

template <std::int32_t kRows, std::int32_t kBlocks>
void matmul_tile(const MatmulTask& task, std::int32_t row, std::int32_t block) {
    const PackedView& w = *task.w;
    const QuantRows& x = *task.x;
    const MatmulOut& to = *task.out;
    Ints acc[kRows][kBlocks];
    dot_tile<kRows, kBlocks>(x.q + static_cast<std::ptrdiff_t>(row) * x.stride, x.stride,
                             block_of(w, block * kLanes), w.groups, acc);
#pragma GCC unroll 8
    for (std::int32_t r = 0; r < kRows; ++r) {
        float* out = to.out + static_cast<std::ptrdiff_t>(row + r) * to.stride;
        const float scale = x.scale[row + r];
        const std::int32_t sum = x.sum[row + r];
#pragma GCC unroll 8
        for (std::int32_t b = 0; b < kBlocks; ++b) {
            const std::int32_t n = (block + b) * kLanes;
            Floats v = to_floats(without_offset(acc[r][b], sum)) * scale * load(w.scale + n);
            if (to.bias != nullptr) v += load(to.bias + n);
            if (to.accumulate) v += load_some(out + n, to.width - n);
            store_some(out + n, v, to.width - n);
        }
    }
}

// The last, fewer than kTileRows rows.
template <std::int32_t kRows, std::int32_t kBlocks>
void matmul_rest(const MatmulTask& task, std::int32_t row, std::int32_t block) {
    if constexpr (kRows > 0) {
        if (task.row_end - row == kRows)
            matmul_tile<kRows, kBlocks>(task, row, block);
        else
            matmul_rest<kRows - 1, kBlocks>(task, row, block);
    }
}

template <std::int32_t kBlocks>
HEARTH_INLINE void matmul_blocks(const MatmulTask& task, std::int32_t block) {
    std::int32_t row = task.row_begin;
    for (; row + kTileRows <= task.row_end; row += kTileRows)
        matmul_tile<kTileRows, kBlocks>(task, row, block);
    matmul_rest<kTileRows - 1, kBlocks>(task, row, block);
}

void matmul(const MatmulTask& task) {
    std::int32_t block = task.block_begin;
    for (; block + 4 <= task.block_end; block += 4) matmul_blocks<4>(task, block);
    for (; block < task.block_end; ++block) matmul_blocks<1>(task, block);
}

}  // namespace
