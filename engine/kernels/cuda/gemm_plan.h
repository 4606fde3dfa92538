// gemm_plan.h: which kernel computes a matrix product, decided by its shape and the chip alone.
#pragma once

#include <cstddef>
#include <cstdint>

namespace hearth::engine::cuda {

enum class GemmKind {
    kMmaWide,       // mma.sync, 128 tokens by 128 channels
    kMmaNarrow,     // mma.sync, 64 channels by `tokens` tokens, sides swapped
    kHopperWide,    // wgmma and TMA, 128 tokens by `channels` channels
    kHopperNarrow,  // wgmma and TMA, 64 channels by `tokens` tokens, sides swapped
    kFp8,  // A seam: chips whose tensor cores have lost int8 would take fp8. Nothing computes it.
};

struct GemmShape {
    std::int32_t tokens = 0, channels = 0;  // Channels that are wanted.
    std::int32_t width = 0;                 // K in bytes, a multiple of 64.
};

struct GemmPlan {
    GemmKind kind = GemmKind::kMmaWide;
    std::int32_t tile_tokens = 0, tile_channels = 0;
    std::int32_t parts = 1;  // Of K.
    std::int32_t tiles = 0;
};

// Pure. `major`: compute capability. int8 on tensor cores is in every chip from 8.0 on; from 10.0
// on it is emulated or slow on some, which is what the seam is for.
GemmPlan plan_gemm(const GemmShape& shape, int major, int multiprocessors);

// Partial sums that a plan's parts leave, in int32; 0 without parts.
std::size_t partial_ints(const GemmPlan& plan);

}  // namespace hearth::engine::cuda
