// hopper_gemm.h: the int8 matrix product of sm_90a: TMA brings tiles through a ring of stages,
// warpgroups multiply them by wgmma, scales and bias are applied to the sums in registers.
#pragma once

#include "engine/kernels/cuda/epilogue.h"
#include "engine/kernels/cuda/machine.h"
#include "engine/kernels/cuda/mma_layout.h"
#include "engine/kernels/cuda/split_k.h"

namespace hearth::engine::cuda {

// Which tile block `index` of tiles_m * tiles_n takes: bands of eight rows of tiles, column by
// column, so that blocks that run together share what they read in the second-level cache.
struct TileAt {
    int m, n;
};
HEARTH_BOTH constexpr TileAt tile_at(int index, int tiles_m, int tiles_n) {
    constexpr int kBand = 8;
    const int band = index / (kBand * tiles_n), first = band * kBand;
    const int rows = tiles_m - first < kBand ? tiles_m - first : kBand;
    const int in_band = index % (kBand * tiles_n);
    return {first + in_band % rows, in_band / rows};
}

// D = A B^T for tiles of 64 * kGroups rows of A and kN of B, K-major. With `swapped` A is the
// weights and B the tokens. Tiles come in boxes of 64 rows, or of kN where that is less.
template <int kGroups, int kN, int kStages, class Out>
struct HopperGemmKernel {
    static constexpr bool kHopper = true;
    static constexpr int kConsumers = kGroups * 128;
    // Two warpgroups or more lend registers to each other, so that whole ones load.
    static constexpr int kThreads = kConsumers + (kGroups > 1 ? 128 : kWarp);
    static constexpr int kM = kGroups * 64, kBox = kN < 64 ? kN : 64;
    static constexpr int kABytes = kM * kTileRowBytes, kBBytes = kN * kTileRowBytes;
    static constexpr int kStageBytes = kABytes + kBBytes;
    static constexpr int kBarrierBytes = 2 * kStages * 8 + 16;
    static constexpr std::size_t kShared = std::size_t{kStages} * kStageBytes + kBarrierBytes;
    static constexpr int kRegisters = kN / 2;

    TensorMap a, b;
    std::int32_t a_rows, b_rows, width;
    bool swapped;
    SplitK split;
    Epilogue<Out> epilogue;

    HEARTH_BOTH int tiles_m() const { return (a_rows + kM - 1) / kM; }
    HEARTH_BOTH int tiles_n() const { return (b_rows + kN - 1) / kN; }
    Grid grid() const { return {tiles_m() * tiles_n(), 1, split.parts, kShared}; }

    template <class B>
    HEARTH_KERNEL void run(B& block) const {
        const TileAt tile = tile_at(block.x, tiles_m(), tiles_n());
        const int chunks = (width + kTileRowBytes - 1) / kTileRowBytes;
        const int begin = chunks * block.z / split.parts;
        const int end = chunks * (block.z + 1) / split.parts;
        std::byte* const stages = block.shared;
        std::byte* const barriers = stages + kStages * kStageBytes;
        Own<B, std::int32_t[kN / 8][4]> sums;
        block.each([&](int t) {
            HEARTH_UNROLL
            for (int i = 0; i < kRegisters; ++i) sums[t][i / 4][i % 4] = 0;
        });
        const auto produce = [&](int turn, int stage, unsigned barrier) {
            std::byte* to = stages + stage * kStageBytes;
            const int k = (begin + turn) * kTileRowBytes;
            HEARTH_UNROLL
            for (int row = 0; row < kM; row += 64)
                block.load_tile(to + row * kTileRowBytes, a, k, tile.m * kM + row, barrier);
            HEARTH_UNROLL
            for (int row = 0; row < kN; row += kBox)
                block.load_tile(to + kABytes + row * kTileRowBytes, b, k, tile.n * kN + row,
                                barrier);
        };
        const auto consume = [&](int, int stage) {
            const std::byte* at = stages + stage * kStageBytes;
            HEARTH_UNROLL
            for (int k = 0; k < kTileRowBytes; k += 32)
                block.template multiply_tiles<kN>(sums, at, at + kABytes, k);
        };
        const auto finish = [&] { keep(block, tile, sums, reinterpret_cast<int*>(stages)); };
        block.template pipeline<kStages>(barriers, end - begin, kStageBytes, produce, consume,
                                         finish);
    }

  private:
    template <class B>
    HEARTH_KERNEL void keep(B& block, const TileAt& tile, Own<B, std::int32_t[kN / 8][4]>& sums,
                            int* flag) const {
        if (split.parts > 1) {
            const auto sum = [&](int t, int i) -> std::int32_t& { return sums[t][i / 4][i % 4]; };
            if (!split.last_part<kConsumers, kRegisters>(block, block.x, block.z, flag, sum))
                return;
        }
        block.each([&](int t) {
            const int first_m = tile.m * kM + t / 128 * 64;
            HEARTH_UNROLL
            for (int i = 0; i < kRegisters; ++i) {
                const Place at = wgmma_place(t % 128, i);
                const int m = first_m + at.row, n = tile.n * kN + at.column;
                epilogue.keep(swapped ? n : m, swapped ? m : n, sums[t][i / 4][i % 4]);
            }
        });
    }
};

}  // namespace hearth::engine::cuda
