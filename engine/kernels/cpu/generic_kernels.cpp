// generic_kernels: any processor; plain vectors of the compiler, int16 products summed in int32.
#include "engine/kernels/cpu/lanes.h"

namespace {

constexpr const char* kIsa = "generic";
constexpr std::uint8_t kFlip = 0;
constexpr std::int32_t kTileRows = 3;
constexpr std::int32_t kValueRows = 3;
constexpr std::int32_t kValueWide = 2;  // Native vectors.

// Channel-major inside a group: [4 input channels][16 output channels].
constexpr std::int32_t slot(std::int32_t channel, std::int32_t k) {
    return k * kLanes + channel;
}

typedef std::int16_t Shorts __attribute__((vector_size(16)));
typedef std::int8_t Chars __attribute__((vector_size(16)));

// Bytes [from, from + 8) of 16, sign-extended: each lands in the high half of a lane first.
HEARTH_INLINE Shorts low_half(Chars c) {
    const Chars pairs = __builtin_shuffle(
        Chars{}, c, Chars{0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23});
    return reinterpret_cast<Shorts>(pairs) >> 8;
}
HEARTH_INLINE Shorts high_half(Chars c) {
    const Chars pairs = __builtin_shuffle(
        Chars{}, c, Chars{8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31});
    return reinterpret_cast<Shorts>(pairs) >> 8;
}
HEARTH_INLINE NativeInts low_half(Shorts s) {
    const Shorts pairs = __builtin_shuffle(Shorts{}, s, Shorts{0, 8, 1, 9, 2, 10, 3, 11});
    return reinterpret_cast<NativeInts>(pairs) >> 16;
}
HEARTH_INLINE NativeInts high_half(Shorts s) {
    const Shorts pairs = __builtin_shuffle(Shorts{}, s, Shorts{4, 12, 5, 13, 6, 14, 7, 15});
    return reinterpret_cast<NativeInts>(pairs) >> 16;
}

// Two products of a weight in [-128, 127] and an activation in [-127, 127] fit int16:
// 2 * 128 * 127 = 32,512. Each pair of input channels is summed there, then widened.
// Calls keep(row, block, sums) for every tile entry; the sums stay in registers until then.
template <std::int32_t kRows, std::int32_t kBlocks, typename Keep>
HEARTH_INLINE void dot_tile(const std::int8_t* x, std::ptrdiff_t stride, const std::uint8_t* w,
                            std::int32_t groups, const Keep& keep, Ahead = {}) {
    for (std::int32_t b = 0; b < kBlocks; ++b, w += static_cast<std::ptrdiff_t>(groups) * 64) {
        for (std::int32_t r = 0; r < kRows; ++r) {
            NativeInts s0 = {}, s1 = {}, s2 = {}, s3 = {};
            for (std::int32_t k = 0; k < groups * 4; k += 2) {
                Chars first, second;
                std::memcpy(&first, w + static_cast<std::ptrdiff_t>(k) * 16, sizeof first);
                std::memcpy(&second, w + static_cast<std::ptrdiff_t>(k) * 16 + 16, sizeof second);
                const std::int16_t x0 = x[r * stride + k], x1 = x[r * stride + k + 1];
                const Shorts low = low_half(first) * x0 + low_half(second) * x1;
                const Shorts high = high_half(first) * x0 + high_half(second) * x1;
                s0 += low_half(low);
                s1 += high_half(low);
                s2 += low_half(high);
                s3 += high_half(high);
            }
            keep(static_cast<std::size_t>(r), static_cast<std::size_t>(b), Ints{{s0, s1, s2, s3}});
        }
    }
}

// K rows of 16-key blocks to the layout of dot_tile.
HEARTH_INLINE void pack_keys(const std::int8_t* k, std::int32_t head_dim, std::int32_t blocks,
                             std::uint8_t* out) {
    for (std::int32_t key = 0; key < blocks * kLanes; ++key)
        for (std::int32_t d = 0; d < head_dim; ++d)
            out[key / kLanes * kLanes * head_dim + d * kLanes + key % kLanes] =
                static_cast<std::uint8_t>(k[key * head_dim + d]);
}

}  // namespace

#include "engine/kernels/cpu/attention_kernels.h"

const hearth::engine::cpu::CpuKernels* hearth::engine::cpu::generic_kernels() {
    return &kKernels;
}
