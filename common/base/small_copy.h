// Copies short texts without a call: heads and log lines are made of hundreds of them.
#pragma once

#include <cstddef>
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

}  // namespace hearth
