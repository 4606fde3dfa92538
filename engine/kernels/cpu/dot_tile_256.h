// dot_tile_256.h: one tile of an integer matrix product on 256-bit vectors. Who includes it has
// half(), eight output channels of a group, and add_products(). Included by the *_kernels.cpp of
// this folder only; see lanes.h.
#pragma once

#include "engine/kernels/cpu/lanes.h"

namespace {

// Calls keep(row, block, sums) for every tile entry; the sums stay in registers until then.
template <std::int32_t kRows, std::int32_t kBlocks, typename Keep>
HEARTH_INLINE void dot_tile(const std::int8_t* x, std::ptrdiff_t stride, const std::uint8_t* w,
                            std::int32_t groups, const Keep& keep, Ahead ahead = {}) {
    for (std::int32_t b = 0; b < kBlocks; ++b, w += static_cast<std::ptrdiff_t>(groups) * 64) {
        NativeInts lo[kRows], hi[kRows];
        unrolled<kRows>([&](std::size_t r) HEARTH_FLAT { lo[r] = hi[r] = NativeInts{}; });
        for (std::int32_t g = 0; g < groups; ++g) {
            if (b == 0) ahead.fetch(g);
            const auto first = half(w + static_cast<std::ptrdiff_t>(g) * 64);
            const auto second = half(w + static_cast<std::ptrdiff_t>(g) * 64 + 32);
            unrolled<kRows>([&](std::size_t r) HEARTH_FLAT {
                std::int32_t four;
                std::memcpy(&four, x + static_cast<std::ptrdiff_t>(r) * stride + g * 4,
                            sizeof four);
                const __m256i in = _mm256_set1_epi32(four);
                lo[r] = add_products(lo[r], first, in);
                hi[r] = add_products(hi[r], second, in);
            });
        }
        unrolled<kRows>([&](std::size_t r) HEARTH_FLAT {
            keep(r, static_cast<std::size_t>(b), Ints{{lo[r], hi[r]}});
        });
    }
}

}  // namespace
