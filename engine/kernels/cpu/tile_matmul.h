// tile_matmul.h: int8 products in matrix tiles, 16 rows by 16 output channels by 64 input channels
// an instruction (Intel AMX; Intel 64 and IA-32 Architectures Software Developer's Manual, volume
// 1, chapter 18). Included by matmul_kernels.h where the instruction set has Tiles: eight of them,
// with configure(), release(), zero(), load(), store() and add_products(), whose tiles are template
// arguments because instructions name them. See lanes.h.
#pragma once

#include "engine/kernels/cpu/row_kernels.h"

namespace {

constexpr std::int32_t kMatrixRows = 16;   // Of a tile, at most.
constexpr std::int32_t kMatrixDepth = 64;  // Bytes of a tile's row.
constexpr std::int32_t kMatrixGroups =
    16;  // Groups of weights in a tile: 1 KiB as they are packed.
// Fewer are a matter of reading weights, which vectors do as quickly.
constexpr std::int32_t kMatrixRowsMin = 4;

// What each of the eight tiles is: 2 x 2 of sums, which stay for the whole depth, then two of rows
// and two of weights.
enum : int { kSum00, kSum01, kSum10, kSum11, kUpper, kLower, kLeft, kRight };

// The operand of LDTILECFG, palette 1.
struct alignas(64) TileShapes {
    std::uint8_t palette = 1, start_row = 0;
    std::uint8_t reserved[14] = {};
    std::uint16_t row_bytes[16] = {};
    std::uint8_t rows[16] = {};
};
static_assert(sizeof(TileShapes) == 64);

HEARTH_INLINE TileShapes shapes_of(std::int32_t upper, std::int32_t lower) {
    TileShapes shapes;
    const auto set = [&](int tile, std::int32_t rows) HEARTH_FLAT {
        shapes.rows[tile] = static_cast<std::uint8_t>(rows);
        shapes.row_bytes[tile] = rows > 0 ? kMatrixDepth : 0;
    };
    set(kSum00, upper);
    set(kSum01, upper);
    set(kUpper, upper);
    set(kSum10, lower);
    set(kSum11, lower);
    set(kLower, lower);
    set(kLeft, kMatrixRows);
    set(kRight, kMatrixRows);
    return shapes;
}

// The sums of up to 32 rows by two blocks of channels.
struct TileSums {
    alignas(64) std::int32_t at[2][2][kMatrixRows][kLanes];  // [lower][block][row][channel]
};

template <bool kHasLower>
HEARTH_INLINE void multiply_in_tiles(const std::int8_t* x, std::ptrdiff_t stride,
                                     const std::uint8_t* w, std::int32_t groups, Ahead ahead,
                                     TileSums& sums) {
    constexpr std::ptrdiff_t kWeightRow = 64;
    const std::ptrdiff_t block = static_cast<std::ptrdiff_t>(groups) * kWeightRow;
    Tiles::zero<kSum00>();
    Tiles::zero<kSum01>();
    if constexpr (kHasLower) {
        Tiles::zero<kSum10>();
        Tiles::zero<kSum11>();
    }
    for (std::int32_t g = 0; g < groups; g += kMatrixGroups) {
        for (std::int32_t i = 0; i < kMatrixGroups; ++i) ahead.fetch(g + i);
        Tiles::load<kLeft>(w, kWeightRow);
        Tiles::load<kRight>(w + block, kWeightRow);
        Tiles::load<kUpper>(x, stride);
        Tiles::add_products<kSum00, kUpper, kLeft>();
        Tiles::add_products<kSum01, kUpper, kRight>();
        if constexpr (kHasLower) {
            Tiles::load<kLower>(x + kMatrixRows * stride, stride);
            Tiles::add_products<kSum10, kLower, kLeft>();
            Tiles::add_products<kSum11, kLower, kRight>();
        }
        w += kMatrixGroups * kWeightRow;
        x += kMatrixDepth;
    }
    constexpr std::ptrdiff_t kSumRow = kLanes * sizeof(std::int32_t);
    Tiles::store<kSum00>(sums.at[0][0], kSumRow);
    Tiles::store<kSum01>(sums.at[0][1], kSumRow);
    if constexpr (kHasLower) {
        Tiles::store<kSum10>(sums.at[1][0], kSumRow);
        Tiles::store<kSum11>(sums.at[1][1], kSumRow);
    }
}

// Pairs of blocks from task.block_begin on, before `end`, for all rows of the task; `finish(row,
// block, sums)` gets each. Returns the first block that is left.
template <typename Finish>
HEARTH_INLINE std::int32_t matmul_in_tiles(const MatmulTask& task, std::int32_t end,
                                           const Finish& finish) {
    const std::int32_t pairs = (end - task.block_begin) / 2;
    const std::int32_t rows = task.row_end - task.row_begin;
    // As even as can be: a few rows alone would cost nearly as much as many.
    const std::int32_t steps = (rows + 2 * kMatrixRows - 1) / (2 * kMatrixRows);
    const std::int32_t upper_rows = rows < kMatrixRows ? rows : kMatrixRows;
    std::int32_t lower_rows = -1;  // As configured.
    TileSums sums;
    for (std::int32_t pair = 0; pair < pairs; ++pair) {
        const std::int32_t block = task.block_begin + 2 * pair;
        for (std::int32_t step = 0, from = 0; step < steps; ++step) {
            const std::int32_t to = rows * (step + 1) / steps;
            const std::int32_t lower = to - from - upper_rows;
            if (lower != lower_rows) Tiles::configure(shapes_of(upper_rows, lower));
            lower_rows = lower;
            const std::int32_t row = task.row_begin + from;
            const std::int8_t* x = task.x->q + static_cast<std::ptrdiff_t>(row) * task.x->stride;
            const std::uint8_t* w = block_of(*task.w, block * kLanes);
            const Ahead ahead = ahead_of(task, pair * steps + step, pairs * steps);
            if (lower > 0)
                multiply_in_tiles<true>(x, task.x->stride, w, task.w->groups, ahead, sums);
            else
                multiply_in_tiles<false>(x, task.x->stride, w, task.w->groups, ahead, sums);
            for (std::int32_t r = 0; r < to - from; ++r) {
                for (std::int32_t b = 0; b < 2; ++b) {
                    Ints acc;
                    std::memcpy(&acc, sums.at[r / kMatrixRows][b][r % kMatrixRows], sizeof acc);
                    finish(row + r, block + b, acc);
                }
            }
            from = to;
        }
    }
    if (pairs > 0) Tiles::release();
    return task.block_begin + 2 * pairs;
}

// Products of whole tiles alone.
#define HEARTH_PROBES_REGISTERS
HEARTH_INLINE std::int64_t probe_registers(std::int32_t rounds) {
    constexpr std::int32_t kSteps = 64;
    Tiles::configure(shapes_of(kMatrixRows, kMatrixRows));
    for (std::int32_t i = 0; i < rounds * kSteps; ++i) {
        Tiles::add_products<kSum00, kUpper, kLeft>();
        Tiles::add_products<kSum01, kUpper, kRight>();
        Tiles::add_products<kSum10, kLower, kLeft>();
        Tiles::add_products<kSum11, kLower, kRight>();
    }
    Tiles::release();
    return std::int64_t{rounds} * kSteps * 4 * kMatrixRows * kLanes * kMatrixDepth;
}

}  // namespace
