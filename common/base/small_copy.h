// Copies short texts without a call: heads and log lines are made of hundreds of them.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>

namespace hearth {

// memcpy(to, text), for texts that mostly have up to 32 bytes: two moves, which may overlap.
inline char* copy_small(char* to, std::string_view text) {
    const char* const from = text.data();
    const std::size_t n = text.size();
    if (n > 32) {
        std::memcpy(to, from, n);
    } else if (n >= 16) {
        std::memcpy(to, from, 16);
        std::memcpy(to + n - 16, from + n - 16, 16);
    } else if (n >= 8) {
        std::memcpy(to, from, 8);
        std::memcpy(to + n - 8, from + n - 8, 8);
    } else if (n >= 4) {
        std::memcpy(to, from, 4);
        std::memcpy(to + n - 4, from + n - 4, 4);
    } else if (n > 0) {
        to[0] = from[0];
        to[n / 2] = from[n / 2];
        to[n - 1] = from[n - 1];
    }
    return to + n;
}

// 16 lower-case hex digits, two a step.
inline char* put_hex(char* to, std::uint64_t value) {
    static constexpr auto kPairs = [] {
        constexpr std::string_view kDigits = "0123456789abcdef";
        std::array<char, 512> pairs{};
        for (std::size_t i = 0; i < 256; ++i) {
            pairs[2 * i] = kDigits[i >> 4];
            pairs[2 * i + 1] = kDigits[i & 15];
        }
        return pairs;
    }();
    for (int shift = 56; shift >= 0; shift -= 8, to += 2)
        std::memcpy(to, &kPairs[2 * ((value >> shift) & 255)], 2);
    return to;
}

}  // namespace hearth
