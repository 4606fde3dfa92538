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
    kFp8,           // A seam for chips whose tensor cores lose int8; nothing computes it yet.
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

// Pure. `major`: compute capability, 8 or more. wgmma for int8 is 9.0's alone; every chip has
// mma.sync, at what speed is another question.
GemmPlan plan_gemm(const GemmShape& shape, int major, int multiprocessors);

// Partial sums that a plan's parts leave, in int32; 0 without parts.
std::size_t partial_ints(const GemmPlan& plan);

}  // namespace hearth::engine::cuda
