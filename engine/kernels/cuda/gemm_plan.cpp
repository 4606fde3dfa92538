// The dispatch table of matrix products. Numbers are reasoned from bytes and tiles; docs/gpu/ has
// what was measured, if anything was.
#include "engine/kernels/cuda/gemm_plan.h"

#include <algorithm>

namespace hearth::engine::cuda {
namespace {

constexpr std::int32_t kMostNarrow = 64;  // Tokens up to which the sides are swapped.
constexpr std::int32_t kNarrowChannels = 64;
// Fewer chunks of 128 bytes than this make a part that is mostly filling its pipeline.
constexpr std::int32_t kChunksPerPart = 8;
constexpr std::int32_t kMostParts = 8;

std::int32_t ceil_div(std::int32_t a, std::int32_t b) {
    return (a + b - 1) / b;
}

// As many parts as bring two blocks to every multiprocessor.
std::int32_t parts_for(std::int32_t tiles, std::int32_t width, int multiprocessors) {
    const std::int32_t most = std::min(kMostParts, width / 128 / kChunksPerPart);
    return std::clamp(2 * multiprocessors / std::max(1, tiles), 1, std::max(1, most));
}

}  // namespace

GemmPlan plan_gemm(const GemmShape& shape, int major, int multiprocessors) {
    GemmPlan plan;
    const bool hopper = major == 9;
    if (shape.tokens <= kMostNarrow) {
        plan.kind = hopper && shape.tokens > 8 ? GemmKind::kHopperNarrow : GemmKind::kMmaNarrow;
        plan.tile_channels = kNarrowChannels;
        plan.tile_tokens = 8;
        while (plan.tile_tokens < shape.tokens) plan.tile_tokens *= 2;
    } else {
        plan.kind = hopper ? GemmKind::kHopperWide : GemmKind::kMmaWide;
        plan.tile_tokens = 128;
        plan.tile_channels = 128;
        // Wide tiles feed wgmma best, where there are enough of them.
        const std::int32_t wide = ceil_div(shape.tokens, 128) * ceil_div(shape.channels, 256);
        if (hopper && wide >= multiprocessors) plan.tile_channels = 256;
    }
    plan.tiles =
        ceil_div(shape.tokens, plan.tile_tokens) * ceil_div(shape.channels, plan.tile_channels);
    if (plan.kind == GemmKind::kMmaNarrow || plan.kind == GemmKind::kHopperNarrow)
        plan.parts = parts_for(plan.tiles, shape.width, multiprocessors);
    return plan;
}

std::size_t partial_ints(const GemmPlan& plan) {
    if (plan.parts == 1) return 0;
    return static_cast<std::size_t>(plan.tiles) * static_cast<std::size_t>(plan.parts) *
           static_cast<std::size_t>(plan.tile_tokens * plan.tile_channels);
}

}  // namespace hearth::engine::cuda
