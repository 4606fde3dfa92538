// avx2_kernels: int8 products with vpmaddubsw on (|w|, x * sign w), which cannot saturate.
#include <immintrin.h>

#include "engine/kernels/cpu/lanes.h"

namespace {

constexpr const char* kIsa = "avx2";
constexpr std::uint8_t kFlip = 0;
constexpr std::int32_t kTileRows = 4;
constexpr std::int32_t kValueRows = 2;
constexpr std::int32_t kValueWide = 4;  // Native vectors.

// [16 output channels][4 input channels].
constexpr std::int32_t slot(std::int32_t channel, std::int32_t k) {
    return channel * 4 + k;
}

// vpmaddubsw adds two products of an unsigned and a signed byte and saturates to int16. With
// |w| <= 128 as the unsigned and |x| <= 127 as the signed operand their sum is at most
// 2 * 128 * 127 = 32,512 in size: it never saturates, so the sum is exact.
struct Half {
    __m256i w, size;  // 8 output channels x 4 input channels, and their absolute values.
};
HEARTH_INLINE Half half(const std::uint8_t* p) {
    const __m256i w = _mm256_load_si256(reinterpret_cast<const __m256i*>(p));
    return {w, _mm256_abs_epi8(w)};
}
HEARTH_INLINE NativeInts add_products(NativeInts acc, const Half& h, __m256i x) {
    const __m256i pairs = _mm256_maddubs_epi16(h.size, _mm256_sign_epi8(x, h.w));
    return acc + reinterpret_cast<NativeInts>(_mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
}

}  // namespace

#include "engine/kernels/cpu/dot_tile_256.h"
#include "engine/kernels/cpu/interleave_keys.h"
// The order matters: what follows uses pack_keys().
#include "engine/kernels/cpu/attention_kernels.h"

const hearth::engine::cpu::CpuKernels* hearth::engine::cpu::avx2_kernels() {
    return &kKernels;
}
