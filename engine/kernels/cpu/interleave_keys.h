// interleave_keys.h: K rows of a page to [16 keys][4 elements] groups, for kernels with that
// layout. Included by the *_kernels.cpp of this folder only; see lanes.h.
#pragma once

#include "engine/kernels/cpu/lanes.h"

namespace {

// Four elements move as one 32-bit word; the sign bits are flipped where the kernel wants that.
HEARTH_INLINE void pack_keys(const std::int8_t* k, std::int32_t head_dim, std::int32_t blocks,
                             std::uint8_t* out) {
    const std::uint32_t flip = kFlip * 0x01010101u;
    const std::int32_t groups = head_dim / 4;
    for (std::int32_t b = 0; b < blocks; ++b) {
        for (std::int32_t key = 0; key < kLanes; ++key) {
            const std::int8_t* from = k + (b * kLanes + key) * head_dim;
            std::uint8_t* to = out + b * groups * 64 + key * 4;
            for (std::int32_t g = 0; g < groups; ++g) {
                std::uint32_t word;
                std::memcpy(&word, from + g * 4, sizeof word);
                word ^= flip;
                std::memcpy(to + g * 64, &word, sizeof word);
            }
        }
    }
}

}  // namespace
