// interleave_keys.h: K rows of a page to [16 keys][4 elements] groups, for kernels with that
// layout. Included by the *_kernels.cpp of this folder only; see lanes.h.
#pragma once

#include "engine/kernels/cpu/lanes.h"

namespace {

// Four elements move as one 32-bit word; the sign bits are flipped where the kernel wants that.
constexpr std::uint32_t kFlipWord = kFlip * 0x01010101u;

// Words [8][8]: row r of `from`, `stride` bytes apart, becomes column r of `to`, 64 bytes apart.
HEARTH_INLINE void transpose_words(const std::int8_t* from, std::int32_t stride, std::uint8_t* to) {
    __m256i r[8], t[8];
#pragma GCC unroll 8
    for (std::int32_t i = 0; i < 8; ++i)
        r[i] = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from + i * stride));
#pragma GCC unroll 4
    for (std::int32_t i = 0; i < 8; i += 2) {
        t[i] = _mm256_unpacklo_epi32(r[i], r[i + 1]);
        t[i + 1] = _mm256_unpackhi_epi32(r[i], r[i + 1]);
    }
#pragma GCC unroll 2
    for (std::int32_t i = 0; i < 8; i += 4) {
        r[i] = _mm256_unpacklo_epi64(t[i], t[i + 2]);
        r[i + 1] = _mm256_unpackhi_epi64(t[i], t[i + 2]);
        r[i + 2] = _mm256_unpacklo_epi64(t[i + 1], t[i + 3]);
        r[i + 3] = _mm256_unpackhi_epi64(t[i + 1], t[i + 3]);
    }
    const __m256i flip = _mm256_set1_epi32(static_cast<std::int32_t>(kFlipWord));
#pragma GCC unroll 4
    for (std::int32_t i = 0; i < 4; ++i) {
        const __m256i low = _mm256_permute2x128_si256(r[i], r[i + 4], 0x20);
        const __m256i high = _mm256_permute2x128_si256(r[i], r[i + 4], 0x31);
        _mm256_store_si256(reinterpret_cast<__m256i*>(to + i * 64), _mm256_xor_si256(low, flip));
        _mm256_store_si256(reinterpret_cast<__m256i*>(to + (i + 4) * 64),
                           _mm256_xor_si256(high, flip));
    }
}

HEARTH_INLINE void pack_keys(const std::int8_t* k, std::int32_t head_dim, std::int32_t blocks,
                             std::uint8_t* out) {
    const std::int32_t groups = head_dim / 4;
    for (std::int32_t key = 0; key < blocks * kLanes; key += 8) {
        const std::int8_t* from = k + key * head_dim;
        std::uint8_t* to = out + key / kLanes * groups * 64 + key % kLanes * 4;
        std::int32_t g = 0;
        for (; g + 8 <= groups; g += 8) transpose_words(from + g * 4, head_dim, to + g * 64);
        for (; g < groups; ++g) {
            for (std::int32_t i = 0; i < 8; ++i) {
                std::uint32_t word;
                std::memcpy(&word, from + i * head_dim + g * 4, sizeof word);
                word ^= kFlipWord;
                std::memcpy(to + g * 64 + i * 4, &word, sizeof word);
            }
        }
    }
}

}  // namespace
