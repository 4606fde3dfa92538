// Character classes: bits by character, and those that all of a text shares, without a branch a
// byte: nearly every text passes.
#pragma once

#include <array>
#include <string_view>

namespace hearth {

using CharClasses = std::array<unsigned char, 256>;

// Of `bits`, those that the table has for each character; all of them for an empty text.
inline unsigned char shared_classes(std::string_view text, const CharClasses& table,
                                    unsigned char bits) {
    const char* at = text.data();
    const char* const end = at + text.size();
    const auto class_of = [&table](char c) { return table[static_cast<unsigned char>(c)]; };
    for (; end - at >= 4; at += 4)
        bits &= static_cast<unsigned char>(class_of(at[0]) & class_of(at[1]) & class_of(at[2]) &
                                           class_of(at[3]));
    for (; at < end; ++at) bits &= class_of(*at);
    return bits;
}

}  // namespace hearth
