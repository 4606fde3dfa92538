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

#if defined(__AVX512F__)
// Words [16][16]: row r of `from`, `stride` bytes apart, becomes column r of `to`, 64 bytes apart.
HEARTH_INLINE void transpose_words_16(const std::int8_t* from, std::int32_t stride,
                                      std::uint8_t* to) {
    __m512i r[16], t[16];
    const __m512i flip = _mm512_set1_epi32(static_cast<std::int32_t>(kFlipWord));
    unrolled<16>([&](std::size_t i) HEARTH_FLAT {
        const std::int8_t* row = from + static_cast<std::ptrdiff_t>(i) * stride;
        r[i] = _mm512_xor_si512(_mm512_loadu_si512(row), flip);
    });
    // After this r[4 j + i] has, in quarter q, word 4 q + i of rows 4 j to 4 j + 3.
    unrolled<8>([&](std::size_t i) HEARTH_FLAT {
        t[2 * i] = _mm512_unpacklo_epi32(r[2 * i], r[2 * i + 1]);
        t[2 * i + 1] = _mm512_unpackhi_epi32(r[2 * i], r[2 * i + 1]);
    });
    unrolled<4>([&](std::size_t j) HEARTH_FLAT {
        r[4 * j] = _mm512_unpacklo_epi64(t[4 * j], t[4 * j + 2]);
        r[4 * j + 1] = _mm512_unpackhi_epi64(t[4 * j], t[4 * j + 2]);
        r[4 * j + 2] = _mm512_unpacklo_epi64(t[4 * j + 1], t[4 * j + 3]);
        r[4 * j + 3] = _mm512_unpackhi_epi64(t[4 * j + 1], t[4 * j + 3]);
    });
    unrolled<4>([&](std::size_t i) HEARTH_FLAT {
        // Quarters 0 and 2 of rows 0 to 7 and 8 to 15, then 1 and 3.
        const __m512i a = _mm512_shuffle_i32x4(r[i], r[4 + i], 0x88);
        const __m512i b = _mm512_shuffle_i32x4(r[8 + i], r[12 + i], 0x88);
        const __m512i c = _mm512_shuffle_i32x4(r[i], r[4 + i], 0xdd);
        const __m512i d = _mm512_shuffle_i32x4(r[8 + i], r[12 + i], 0xdd);
        std::uint8_t* word = to + i * 64;
        _mm512_store_si512(word, _mm512_shuffle_i32x4(a, b, 0x88));
        _mm512_store_si512(word + 4 * 64, _mm512_shuffle_i32x4(c, d, 0x88));
        _mm512_store_si512(word + 8 * 64, _mm512_shuffle_i32x4(a, b, 0xdd));
        _mm512_store_si512(word + 12 * 64, _mm512_shuffle_i32x4(c, d, 0xdd));
    });
}
#endif

HEARTH_INLINE void pack_keys(const std::int8_t* k, std::int32_t head_dim, std::int32_t blocks,
                             std::uint8_t* out) {
    const std::int32_t groups = head_dim / 4;
#if defined(__AVX512F__)
    if (head_dim % 64 == 0) {
        for (std::int32_t block = 0; block < blocks; ++block)
            for (std::int32_t g = 0; g < groups; g += 16)
                transpose_words_16(k + block * kLanes * head_dim + g * 4, head_dim,
                                   out + (block * groups + g) * 64);
        return;
    }
#endif
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
