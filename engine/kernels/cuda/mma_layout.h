// mma_layout.h: which thread of a warp, or of four, holds what of a tensor core's operands.
#pragma once

#include "engine/kernels/cuda/simt.h"

namespace hearth::engine::cuda {

// Where byte `byte` of register `reg` of `lane` lies (PTX ISA, "Matrix fragments for mma.m16n8k32"
// and "m16n8k16"). The halves of k16 are the bytes of k32 taken two by two.
struct Place {
    int row, column;
};
HEARTH_BOTH constexpr Place a_place(int lane, int reg, int byte) {
    return {lane / 4 + reg % 2 * 8, reg / 2 * 16 + lane % 4 * 4 + byte};
}
HEARTH_BOTH constexpr Place b_place(int lane, int reg, int byte) {
    return {reg * 16 + lane % 4 * 4 + byte, lane / 4};
}
HEARTH_BOTH constexpr Place c_place(int lane, int reg) {
    return {lane / 4 + reg / 2 * 8, lane % 4 * 2 + reg % 2};
}

// Of wgmma.m64nNk32: the accumulator `reg` of `thread` of a warpgroup (PTX ISA, "Register fragments
// for wgmma.mma_async.m64nNk32", matrix D).
HEARTH_BOTH constexpr Place wgmma_place(int thread, int reg) {
    const int lane = thread % kWarp;
    return {thread / kWarp * 16 + lane / 4 + reg / 2 % 2 * 8, reg / 4 * 8 + lane % 4 * 2 + reg % 2};
}

// Tiles in shared memory have rows of 128 bytes, whose pieces of 16 bytes are swapped within groups
// of eight rows, so that eight rows' pieces of one column lie in different banks. It is the pattern
// that TMA calls SWIZZLE_128B, if the tile begins on a multiple of 1,024 bytes.
constexpr int kTileRowBytes = 128;
HEARTH_BOTH constexpr int swizzled(int row, int byte) {
    return row * kTileRowBytes + ((byte / 16 ^ row % 8) * 16 | byte % 16);
}

// The shared memory descriptor of such a tile for wgmma (PTX ISA, "Matrix descriptor"): the address
// in units of 16 bytes, the distance of groups of eight rows (1,024 bytes), swizzle mode 1. The
// leading dimension is not used with a swizzle of 128 bytes and rows of so many; it is set to 1.
HEARTH_BOTH constexpr std::uint64_t tile_descriptor(std::uint32_t shared_address) {
    return std::uint64_t{(shared_address & 0x3ffffu) >> 4} | std::uint64_t{1} << 16 |
           std::uint64_t{1024 >> 4} << 32 | std::uint64_t{1} << 62;
}

// Ring of stages between who loads tiles and who uses them: turn `turn` uses a stage, and waits for
// the phase of its barriers that is to end. A barrier that has never completed counts as in phase
// 1's past, so who fills a stage for the first time does not wait.
struct RingTurn {
    int stage;
    std::uint32_t full_parity;  // Who uses tiles waits until phase `full_parity` of "full" is over.
    std::uint32_t empty_parity;  // Who loads them: of "empty".
};
HEARTH_BOTH constexpr RingTurn ring_turn(int turn, int stages) {
    const auto round = static_cast<std::uint32_t>(turn / stages);
    return {turn % stages, round % 2, (round + 1) % 2};
}

// Bits of a float as half precision, rounded to nearest even, and back (IEEE 754 binary16). For
// hosts; devices have instructions. No infinities come here: |x| <= 1 where it is used.
inline std::uint16_t half_bits(float x) {
    std::uint32_t bits;
    std::memcpy(&bits, &x, sizeof bits);
    const std::uint32_t sign = bits >> 16 & 0x8000u;
    const float size = std::fabs(x);
    if (size < 6.103515625e-05f)  // Subnormal: steps of 2^-24.
        return static_cast<std::uint16_t>(
            sign | static_cast<std::uint32_t>(std::nearbyintf(size * 16777216.0f)));
    bits &= 0x7fffffffu;
    bits += 0xfffu + (bits >> 13 & 1u);
    return static_cast<std::uint16_t>(sign | ((bits >> 13) - (112u << 10)));
}
inline float from_half_bits(std::uint16_t h) {
    const float sign = (h & 0x8000u) != 0 ? -1.0f : 1.0f;
    const int exponent = h >> 10 & 31, fraction = h & 1023;
    if (exponent == 0) return sign * static_cast<float>(fraction) / 16777216.0f;
    return sign * std::ldexp(1.0f + static_cast<float>(fraction) / 1024.0f, exponent - 15);
}

}  // namespace hearth::engine::cuda
