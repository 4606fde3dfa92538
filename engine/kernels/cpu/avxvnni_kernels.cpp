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

HEARTH_INLINE __m256i half(const std::uint8_t* p) {
    return _mm256_load_si256(reinterpret_cast<const __m256i*>(p));
}
HEARTH_INLINE NativeInts add_products(NativeInts sum, __m256i w, __m256i x) {
    return reinterpret_cast<NativeInts>(
        _mm256_dpbusd_avx_epi32(reinterpret_cast<__m256i>(sum), w, x));
}

}  // namespace

#include "engine/kernels/cpu/dot_tile_256.h"
#include "engine/kernels/cpu/interleave_keys.h"
// The order matters: what follows uses pack_keys().
#include "engine/kernels/cpu/attention_kernels.h"

const hearth::engine::cpu::CpuKernels* hearth::engine::cpu::avxvnni_kernels() {
    return &kKernels;
}
