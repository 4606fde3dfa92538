// dot_tile_512.h: one tile of an integer matrix product on 512-bit vectors, 64 products per
// instruction, exact in int32. Included by the *_kernels.cpp of this folder only; see lanes.h.
#pragma once

#include <immintrin.h>

#include "engine/kernels/cpu/lanes.h"

namespace {

// vpdpbusd multiplies unsigned by signed bytes and does not saturate. The weights are the unsigned
// ones, stored as w + 128; the surplus of 128 * sum_k x is taken off at the end.
constexpr std::uint8_t kFlip = 0x80;
constexpr std::int32_t kTileRows = 6;
constexpr std::int32_t kValueRows = 4;
constexpr std::int32_t kValueWide = 4;  // Native vectors.

// [16 output channels][4 input channels].
constexpr std::int32_t slot(std::int32_t channel, std::int32_t k) {
    return channel * 4 + k;
}

HEARTH_INLINE NativeInts add_products(NativeInts sum, __m512i w, __m512i x) {
    return reinterpret_cast<NativeInts>(_mm512_dpbusd_epi32(reinterpret_cast<__m512i>(sum), w, x));
}

// Calls keep(row, block, sums) for every tile entry; the sums stay in registers until then.
template <std::int32_t kRows, std::int32_t kBlocks, typename Keep>
HEARTH_INLINE void dot_tile(const std::int8_t* x, std::ptrdiff_t stride, const std::uint8_t* w,
                            std::int32_t groups, const Keep& keep, Ahead ahead = {}) {
    const std::ptrdiff_t block = static_cast<std::ptrdiff_t>(groups) * 64;
    // Typed as what keep() takes: a second copy of each sum, as another type, would not fit.
    NativeInts sum[kRows][kBlocks];
    unrolled<kRows>([&](std::size_t r) HEARTH_FLAT {
        unrolled<kBlocks>([&](std::size_t b) HEARTH_FLAT { sum[r][b] = NativeInts{}; });
    });
    for (std::int32_t g = 0; g < groups; ++g, w += 64, x += 4) {
        ahead.fetch(g);
        __m512i in[kBlocks];
        unrolled<kBlocks>([&](std::size_t b) HEARTH_FLAT {
            in[b] = _mm512_load_si512(w + static_cast<std::ptrdiff_t>(b) * block);
        });
        unrolled<kRows>([&](std::size_t r) HEARTH_FLAT {
            std::int32_t four;
            std::memcpy(&four, x + static_cast<std::ptrdiff_t>(r) * stride, sizeof four);
            const __m512i row = _mm512_set1_epi32(four);
            unrolled<kBlocks>([&](std::size_t b)
                                  HEARTH_FLAT { sum[r][b] = add_products(sum[r][b], in[b], row); });
        });
    }
    unrolled<kRows>([&](std::size_t r) HEARTH_FLAT {
        unrolled<kBlocks>([&](std::size_t b) HEARTH_FLAT { keep(r, b, Ints{{sum[r][b]}}); });
    });
}

#if !defined(HEARTH_MATRIX_TILES)
// Products of registers alone, in as many chains as the largest tile has.
#define HEARTH_PROBES_REGISTERS
HEARTH_INLINE std::int64_t probe_registers(std::int32_t rounds) {
    constexpr std::size_t kChains = 24;
    constexpr std::int32_t kSteps = 16;
    NativeInts sum[kChains] = {};
    __m512i w = _mm512_set1_epi8(3), x = _mm512_set1_epi8(-2);
    // To the compiler the chains are not alike, or it would compute one of them.
    unrolled<kChains>([&](std::size_t c) HEARTH_FLAT { asm volatile("" : "+v"(sum[c])); });
    for (std::int32_t i = 0; i < rounds * kSteps; ++i) {
        asm volatile("" : "+v"(w), "+v"(x));
        unrolled<kChains>([&](std::size_t c) HEARTH_FLAT { sum[c] = add_products(sum[c], w, x); });
    }
    unrolled<kChains>([&](std::size_t c) HEARTH_FLAT { asm volatile("" : : "v"(sum[c])); });
    return std::int64_t{rounds} * kSteps * kChains * 64;
}
#endif

}  // namespace
