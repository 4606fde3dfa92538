// avxvnni_kernels: int8 products with the 256-bit vpdpbusd of processors without AVX-512.
#include <immintrin.h>

#include "engine/kernels/cpu/lanes.h"

namespace {

constexpr const char* kIsa = "avxvnni";
// As with AVX-512: unsigned weights, w + 128, and the surplus of 128 * sum_k x is taken off.
constexpr std::uint8_t kFlip = 0x80;
constexpr std::int32_t kTileRows = 6;
constexpr std::int32_t kValueRows = 2;
constexpr std::int32_t kValueWide = 4;  // Native vectors.

// [16 output channels][4 input channels].
constexpr std::int32_t slot(std::int32_t channel, std::int32_t k) {
    return channel * 4 + k;
}

HEARTH_INLINE NativeInts add_products(NativeInts sum, __m256i w, __m256i x) {
    return reinterpret_cast<NativeInts>(
        _mm256_dpbusd_avx_epi32(reinterpret_cast<__m256i>(sum), w, x));
}

// Calls keep(row, block, sums) for every tile entry; the sums stay in registers until then.
template <std::int32_t kRows, std::int32_t kBlocks, typename Keep>
HEARTH_INLINE void dot_tile(const std::int8_t* x, std::ptrdiff_t stride, const std::uint8_t* w,
                            std::int32_t groups, const Keep& keep, Ahead ahead = {}) {
    for (std::int32_t b = 0; b < kBlocks; ++b, w += static_cast<std::ptrdiff_t>(groups) * 64) {
        NativeInts lo[kRows], hi[kRows];
        unrolled<kRows>([&](std::size_t r) HEARTH_FLAT { lo[r] = hi[r] = NativeInts{}; });
        for (std::int32_t g = 0; g < groups; ++g) {
            if (b == 0) ahead.fetch(g);
            const auto* at =
                reinterpret_cast<const __m256i*>(w + static_cast<std::ptrdiff_t>(g) * 64);
            const __m256i first = _mm256_load_si256(at), second = _mm256_load_si256(at + 1);
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

#include "engine/kernels/cpu/interleave_keys.h"
// The order matters: what follows uses pack_keys().
#include "engine/kernels/cpu/attention_kernels.h"

const hearth::engine::cpu::CpuKernels* hearth::engine::cpu::avxvnni_kernels() {
    return &kKernels;
}
