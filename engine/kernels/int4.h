// int4.h: weights of four bits that expand to int8 exactly, so that int8's arithmetic computes
// them.
#pragma once

#include <array>
#include <cstdint>
#include <span>

namespace hearth::engine {

// A row's int8 weights, cut into groups of 32 input channels, come from four bits each and two
// bytes a group (4.5 bits a weight): w = base + step * nibble / 16, rounded, all integers
// (progressive quantisation as in QServe, Lin et al. 2024; its steps are whole). The row's one
// float scale stays, products stay exact in int32, and a kernel that expands as it reads gives the
// same bits as one that reads int8.
//
// These weights and their inputs are not rotated: a file that holds four bits itself (Q4_0, Q4_1)
// has groups of 32 too, and they fall on this grid. Rotated, each weight is a sum of 64, and
// rounding those anew made SmolLM2 20 % worse.
constexpr std::int32_t kInt4Group = 32;

struct Int4Group {
    std::int8_t base = 0;   // In [-127, 127], and so is the value of nibble 15.
    std::uint8_t step = 0;  // In sixteenths.
    std::array<std::uint8_t, kInt4Group> nibbles = {};

    static std::int32_t value_of(std::int32_t base, std::int32_t step, std::int32_t nibble) {
        return (base * 16 + step * nibble + 8) >> 4;
    }
    std::int8_t value(std::size_t i) const {
        return static_cast<std::int8_t>(value_of(base, step, nibbles[i]));
    }
};

// A group of little squared error; values at its ends may be clipped.
Int4Group fit_int4(std::span<const std::int8_t, kInt4Group> q);

// Replaces every value by what four bits make of it. The size is a multiple of kInt4Group.
void snap_to_int4(std::span<std::int8_t> q);

}  // namespace hearth::engine
