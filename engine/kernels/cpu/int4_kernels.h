// int4_kernels.h: weights of four bits (int4.h) become a panel of int8 ones, in cache, as they are
// needed. Included by the *_kernels.cpp of this folder only; see lanes.h.
#pragma once

#include "engine/kernels/cpu/row_kernels.h"

namespace {

// 32 input channels of 16 output channels: 512 bytes as int8, 256 as nibbles, then their grid.
constexpr std::int32_t kSpanGroups = 8;  // Of 4 input channels each.
constexpr std::int32_t kSpanNibbles = 256;
constexpr std::int32_t kSpanGrid = 2 * kLanes;  // 16 steps, 16 bases.

// Byte j * 64 + p of a span holds byte p of its int8 groups 2 j and 2 j + 1. Where a byte is one of
// the vector's 16-bit lanes with its right-hand neighbour, an even one has the earlier group's
// nibble on top, an odd one at the bottom: so that both meet in the middle of the lane.
constexpr bool on_top(std::int32_t group, std::int32_t p) {
    return (group % 2 == 0) == (p % 2 == 0);
}

HEARTH_INLINE std::ptrdiff_t span_of(const PackedView& w, std::int32_t block, std::int32_t span) {
    return static_cast<std::ptrdiff_t>(block) * (w.groups / kSpanGroups) + span;
}

void pack_int4(const Int4Span& from, const PackedView& w, std::int32_t row, std::int32_t span) {
    const std::int32_t channel = row % kLanes;
    const std::ptrdiff_t at = span_of(w, row / kLanes, span);
    std::uint8_t* nibbles = w.nibbles + at * kSpanNibbles;
    for (std::int32_t k = 0; k < kSpanGroups * 4; ++k) {
        const std::int32_t group = k / 4, p = slot(channel, k % 4);
        const auto nibble = static_cast<std::uint32_t>(from.nibbles[k]);
        std::uint8_t& byte = nibbles[group / 2 * 64 + p];
        byte = static_cast<std::uint8_t>(byte | (on_top(group, p) ? nibble << 4 : nibble));
    }
    std::uint8_t* grid = w.grid + at * kSpanGrid;
    grid[channel] = from.step;
    grid[kLanes + channel] = static_cast<std::uint8_t>(from.base) ^ kFlip;
}

#if defined(__AVX2__)
typedef std::uint16_t NativeShorts __attribute__((vector_size(kNativeLanes * 4)));
typedef std::uint8_t NativeBytes __attribute__((vector_size(kNativeLanes * 4)));

// (a * b + 2^14) >> 15 in 16 bits.
HEARTH_INLINE NativeShorts times_rounded(NativeShorts a, NativeShorts b) {
#if defined(__AVX512F__)
    return reinterpret_cast<NativeShorts>(
        _mm512_mulhrs_epi16(reinterpret_cast<__m512i>(a), reinterpret_cast<__m512i>(b)));
#else
    return reinterpret_cast<NativeShorts>(
        _mm256_mulhrs_epi16(reinterpret_cast<__m256i>(a), reinterpret_cast<__m256i>(b)));
#endif
}

// Output channels [part * kNativeLanes, ...) of a span. A nibble times 16 times a step times 128
// is what times_rounded() makes (nibble * step + 8) >> 4 of.
HEARTH_INLINE void expand_part(const std::uint8_t* nibbles, const std::uint8_t* grid,
                               std::uint8_t* to, std::int32_t part) {
    const auto widened = [&](std::int32_t at) HEARTH_FLAT {
        const auto* p = reinterpret_cast<const std::int8_t*>(grid + at + part * kNativeLanes);
        return reinterpret_cast<NativeWords>(widen(p)) & 0xffu;
    };
    const auto step = reinterpret_cast<NativeShorts>(widened(0) * 0x00010001u);
    const auto base = reinterpret_cast<NativeBytes>(widened(kLanes) * 0x01010101u);
    const NativeShorts even = step << 7, odd = step << 3;
    const auto finish = [&](NativeShorts low, NativeShorts high, std::int32_t group) HEARTH_FLAT {
        const NativeShorts both = times_rounded(low, even) | (times_rounded(high, odd) << 8);
        const NativeBytes out = reinterpret_cast<NativeBytes>(both) + base;
        std::memcpy(to + group * 64 + part * kNativeLanes * 4, &out, sizeof out);
    };
#pragma GCC unroll 4
    for (std::int32_t j = 0; j < kSpanGroups / 2; ++j) {
        NativeShorts v;
        std::memcpy(&v, nibbles + j * 64 + part * kNativeLanes * 4, sizeof v);
        finish(v & 0xf0, v & 0xf00, 2 * j);
        finish((v << 4) & 0xf0, (v >> 4) & 0xf00, 2 * j + 1);
    }
}

HEARTH_INLINE void expand_span(const std::uint8_t* nibbles, const std::uint8_t* grid,
                               std::uint8_t* to) {
#pragma GCC unroll 2
    for (std::int32_t part = 0; part < kParts; ++part) expand_part(nibbles, grid, to, part);
}
#else
HEARTH_INLINE void expand_span(const std::uint8_t* nibbles, const std::uint8_t* grid,
                               std::uint8_t* to) {
    for (std::int32_t channel = 0; channel < kLanes; ++channel) {
        const std::int32_t step = grid[channel], base = grid[kLanes + channel];
        for (std::int32_t k = 0; k < kSpanGroups * 4; ++k) {
            const std::int32_t group = k / 4, p = slot(channel, k % 4);
            const std::int32_t byte = nibbles[group / 2 * 64 + p];
            const std::int32_t nibble = on_top(group, p) ? byte >> 4 : byte & 15;
            to[group * 64 + p] = static_cast<std::uint8_t>(base + ((step * nibble + 8) >> 4));
        }
    }
}
#endif

// Blocks [begin, end) of 16 output channels, one after another.
HEARTH_INLINE void expand_int4(const PackedView& w, std::int32_t begin, std::int32_t end,
                               std::uint8_t* to) {
    constexpr std::int32_t kAhead = 2048;  // Bytes; a decode step reads all weights from memory.
    const std::ptrdiff_t last = span_of(w, end, 0);
    for (std::ptrdiff_t span = span_of(w, begin, 0); span < last; ++span, to += kSpanGroups * 64) {
        const std::uint8_t* nibbles = w.nibbles + span * kSpanNibbles;
        for (std::int32_t i = 0; i < kSpanNibbles; i += 64)
            __builtin_prefetch(nibbles + kAhead + i);
        __builtin_prefetch(w.grid + span * kSpanGrid + kAhead / 8);
        expand_span(nibbles, w.grid + span * kSpanGrid, to);
    }
}

}  // namespace
