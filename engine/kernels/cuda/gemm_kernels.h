// gemm_kernels.h: the int8 matrix product by mma.sync (sm_80 and later), with tiles that cp.async
// brings to shared memory some stages ahead.
#pragma once

#include "engine/kernels/cuda/epilogue.h"
#include "engine/kernels/cuda/mma_layout.h"
#include "engine/kernels/cuda/split_k.h"

namespace hearth::engine::cuda {

// D = A B^T for tiles of kM rows of A and kN of B; kWarpsM by kWarpsN warps share a tile. With
// `swapped` A is the weights and B the tokens: few tokens then fill the small side of the product.
template <int kM, int kN, int kWarpsM, int kWarpsN, int kStages, class Out>
struct MmaGemmKernel {
    static constexpr int kThreads = kWarpsM * kWarpsN * kWarp;
    static constexpr int kTilesM = kM / kWarpsM / 16, kTilesN = kN / kWarpsN / 8;
    static constexpr int kStageBytes = (kM + kN) * kTileRowBytes;
    static constexpr int kRegisters = kTilesM * kTilesN * 4;
    static constexpr std::size_t kShared = static_cast<std::size_t>(kStages) * kStageBytes;

    Operand a, b;
    std::int32_t width;  // Bytes of a row: K, a multiple of 64.
    bool swapped;
    SplitK split;
    Epilogue<Out> epilogue;

    Grid grid() const {
        return {(a.rows + kM - 1) / kM, (b.rows + kN - 1) / kN, split.parts, kShared};
    }

    template <class B>
    HEARTH_KERNEL void run(B& block) const {
        const int chunks = (width + kTileRowBytes - 1) / kTileRowBytes;
        const int begin = chunks * block.z / split.parts;
        const int end = chunks * (block.z + 1) / split.parts;
        Sums<B> sums;
        block.each([&](int t) {
            HEARTH_UNROLL
            for (int i = 0; i < kRegisters; ++i)
                sums[t][i / (kTilesN * 4)][i / 4 % kTilesN][i % 4] = 0;
        });
        HEARTH_UNROLL
        for (int i = 0; i + 1 < kStages; ++i) {
            if (begin + i < end) load(block, begin + i, block.shared + i * kStageBytes);
            block.end_of_batch();
        }
        for (int chunk = begin; chunk < end; ++chunk) {
            block.template wait_batches<kStages - 2>();
            block.sync();  // The stage is there, and the one before is free.
            const int next = chunk + kStages - 1;
            if (next < end)
                load(block, next, block.shared + (next - begin) % kStages * kStageBytes);
            block.end_of_batch();
            multiply(block, block.shared + (chunk - begin) % kStages * kStageBytes, sums);
        }
        if (split.parts > 1) {
            const auto sum = [&](int t, int i) -> std::int32_t& {
                return sums[t][i / (kTilesN * 4)][i / 4 % kTilesN][i % 4];
            };
            const std::ptrdiff_t tile =
                block.x + std::ptrdiff_t{block.y} * ((a.rows + kM - 1) / kM);
            if (!split.last_part<kThreads, kRegisters>(block, tile, block.z,
                                                       reinterpret_cast<int*>(block.shared), sum))
                return;
        }
        keep(block, sums);
    }

  private:
    template <class B>
    using Sums = Own<B, std::int32_t[kTilesM][kTilesN][4]>;

    // 128 bytes of every row of both tiles; zeros beyond K and beyond the last row.
    template <class B>
    HEARTH_KERNEL void load(B& block, int chunk, std::byte* to) const {
        block.each([&](int t) {
            HEARTH_UNROLL
            for (int i = t; i < (kM + kN) * 8; i += kThreads) {
                const bool is_a = i < kM * 8;
                const int row = is_a ? i / 8 : i / 8 - kM, k = chunk * kTileRowBytes + i % 8 * 16;
                const Operand& from = is_a ? a : b;
                const int global = (is_a ? block.x * kM : block.y * kN) + row;
                const bool real = global < from.rows && k < width;
                const std::int8_t* source =
                    real ? from.q + std::ptrdiff_t{global} * width + k : from.q;
                std::byte* tile = is_a ? to : to + kM * kTileRowBytes;
                block.copy_ahead(tile + swizzled(row, i % 8 * 16), source, real);
            }
        });
    }

    template <class B>
    HEARTH_KERNEL static void multiply(B& block, const std::byte* stage, Sums<B>& sums) {
        const std::byte* b_tile = stage + kM * kTileRowBytes;
        HEARTH_UNROLL
        for (int k = 0; k < kTileRowBytes; k += 64) {  // Two steps of 32.
            Own<B, std::uint32_t[4]> a_of[2][kTilesM], b_of[kTilesN];
            HEARTH_UNROLL
            for (int i = 0; i < kTilesM * 2; ++i) {
                block.load_matrices(a_of[i % 2][i / 2], [&](int t) {
                    const int lane = t % kWarp, matrix = lane / 8;
                    const int warp = t / kWarp / kWarpsN;
                    const int row = (warp * kTilesM + i / 2) * 16 + matrix % 2 * 8 + lane % 8;
                    return stage + swizzled(row, k + i % 2 * 32 + matrix / 2 * 16);
                });
            }
            HEARTH_UNROLL
            for (int n = 0; n < kTilesN; ++n) {
                block.load_matrices(b_of[n], [&](int t) {
                    const int lane = t % kWarp, warp = t / kWarp % kWarpsN;
                    const int row = (warp * kTilesN + n) * 8 + lane % 8;
                    return b_tile + swizzled(row, k + lane / 8 * 16);
                });
            }
            HEARTH_UNROLL
            for (int i = 0; i < 2 * kTilesM * kTilesN; ++i) {
                const int step = i / (kTilesM * kTilesN), m = i / kTilesN % kTilesM;
                const int n = i % kTilesN;
                block.multiply_bytes([&](int t) {
                    return ByteProduct{sums[t][m][n],
                                       a_of[step][m][t],
                                       {b_of[n][t][2 * step], b_of[n][t][2 * step + 1]}};
                });
            }
        }
    }

    template <class B>
    HEARTH_KERNEL void keep(B& block, const Sums<B>& sums) const {
        block.each([&](int t) {
            const int warp = t / kWarp;
            const int first_m = block.x * kM + warp / kWarpsN * kTilesM * 16;
            const int first_n = block.y * kN + warp % kWarpsN * kTilesN * 8;
            HEARTH_UNROLL
            for (int i = 0; i < kRegisters; ++i) {
                const int tile_m = i / (kTilesN * 4), tile_n = i / 4 % kTilesN;
                const Place at = c_place(t % kWarp, i % 4);
                const int m = first_m + tile_m * 16 + at.row, n = first_n + tile_n * 8 + at.column;
                epilogue.keep(swapped ? n : m, swapped ? m : n, sums[t][tile_m][tile_n][i % 4]);
            }
        });
    }
};

}  // namespace hearth::engine::cuda
