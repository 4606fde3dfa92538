// probe_kernels.h: how many int8 products a core can do at all, as a benchmark's yardstick.
// Included by the *_kernels.cpp of this folder only; see lanes.h.
#pragma once

#include "engine/kernels/cpu/matmul_kernels.h"

namespace {

// The largest tile, over and over, on operands that stay in the first-level cache; returns the
// multiply-adds done. Instruction sets that can do it without loads define probe_registers().
std::int64_t probe_products(std::int32_t rounds) {
#if defined(HEARTH_PROBES_REGISTERS)
    return probe_registers(rounds);
#else
    constexpr std::int32_t kGroups = 16, kBlocks = 4;
    alignas(64) std::uint8_t w[kBlocks * kGroups * 64] = {};
    alignas(64) std::int8_t x[kTileRows * kGroups * 4] = {};
    for (std::int32_t i = 0; i < rounds; ++i) {
        const auto keep = [](std::size_t, std::size_t, const Ints& sums) HEARTH_FLAT {
            asm volatile("" : : "m"(sums));
        };
        dot_tile<kTileRows, kBlocks>(x, kGroups * 4, w, kGroups, keep);
    }
    return std::int64_t{rounds} * kTileRows * kBlocks * kLanes * kGroups * 4;
#endif
}

}  // namespace
