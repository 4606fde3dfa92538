// avx512vnni_kernels: int8 products with vpdpbusd, 64 per instruction, exact in int32.
#include <immintrin.h>

#include "engine/kernels/cpu/lanes.h"

namespace {

constexpr const char* kIsa = "avx512vnni";
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

// Calls keep(row, block, sums) for every tile entry; the sums stay in registers until then.
template <std::int32_t kRows, std::int32_t kBlocks, typename Keep>
HEARTH_INLINE void dot_tile(const std::int8_t* x, std::ptrdiff_t stride, const std::uint8_t* w,
                            std::int32_t groups, const Keep& keep) {
    const std::ptrdiff_t block = static_cast<std::ptrdiff_t>(groups) * 64;
    __m512i sum[kRows][kBlocks];
#pragma GCC unroll 8
    for (std::int32_t r = 0; r < kRows; ++r)
#pragma GCC unroll 4
        for (std::int32_t b = 0; b < kBlocks; ++b) sum[r][b] = _mm512_setzero_si512();
    for (std::int32_t g = 0; g < groups; ++g, w += 64, x += 4) {
        __m512i in[kBlocks];
#pragma GCC unroll 4
        for (std::int32_t b = 0; b < kBlocks; ++b) in[b] = _mm512_load_si512(w + b * block);
#pragma GCC unroll 8
        for (std::int32_t r = 0; r < kRows; ++r) {
            std::int32_t four;
            std::memcpy(&four, x + r * stride, sizeof four);
            const __m512i row = _mm512_set1_epi32(four);
#pragma GCC unroll 4
            for (std::int32_t b = 0; b < kBlocks; ++b)
                sum[r][b] = _mm512_dpbusd_epi32(sum[r][b], in[b], row);
        }
    }
#pragma GCC unroll 8
    for (std::int32_t r = 0; r < kRows; ++r)
#pragma GCC unroll 4
        for (std::int32_t b = 0; b < kBlocks; ++b)
            keep(r, b, Ints{{reinterpret_cast<NativeInts>(sum[r][b])}});
}

}  // namespace

#include "engine/kernels/cpu/interleave_keys.h"
// The order matters: what follows uses pack_keys().
#include "engine/kernels/cpu/attention_kernels.h"

const hearth::engine::cpu::CpuKernels* hearth::engine::cpu::avx512vnni_kernels() {
    return &kKernels;
}
