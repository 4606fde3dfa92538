// generic_kernels: any processor; plain vectors of the compiler, int16 products summed in int32.
#include "engine/kernels/cpu/lanes.h"

namespace {

constexpr const char* kIsa = "generic";
constexpr std::uint8_t kFlip = 0;
constexpr std::int32_t kTileRows = 2;
constexpr std::int32_t kValueRows = 2;
constexpr std::int32_t kValueWide = 1;

// Channel-major inside a group: [4 input channels][16 output channels].
constexpr std::int32_t slot(std::int32_t channel, std::int32_t k) {
    return k * kLanes + channel;
}

typedef std::int16_t Shorts __attribute__((vector_size(32)));

HEARTH_INLINE Shorts shorts(const std::uint8_t* p) {
    Bytes b;
    std::memcpy(&b, p, sizeof b);
    return __builtin_convertvector(b, Shorts);
}

// Two products of values in [-127, 127] fit int16: 2 * 127^2 = 32,258.
template <std::int32_t kRows, std::int32_t kBlocks>
HEARTH_INLINE void dot_tile(const std::int8_t* x, std::ptrdiff_t stride, const std::uint8_t* w,
                            std::int32_t groups, Ints (&acc)[kRows][kBlocks]) {
    for (std::int32_t b = 0; b < kBlocks; ++b, w += static_cast<std::ptrdiff_t>(groups) * 64) {
        Ints sum[kRows] = {};
        for (std::int32_t g = 0; g < groups; ++g) {
            const std::uint8_t* at = w + static_cast<std::ptrdiff_t>(g) * 64;
            const Shorts w0 = shorts(at), w1 = shorts(at + 16);
            const Shorts w2 = shorts(at + 32), w3 = shorts(at + 48);
            for (std::int32_t r = 0; r < kRows; ++r) {
                const std::int8_t* in = x + r * stride + g * 4;
                const Shorts a = w0 * std::int16_t{in[0]} + w1 * std::int16_t{in[1]};
                const Shorts c = w2 * std::int16_t{in[2]} + w3 * std::int16_t{in[3]};
                sum[r] += __builtin_convertvector(a, Ints) + __builtin_convertvector(c, Ints);
            }
        }
        for (std::int32_t r = 0; r < kRows; ++r) acc[r][b] = sum[r];
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
