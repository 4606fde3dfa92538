// Text as runes with the few Unicode classes that pre-tokenizer rules ask for.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

namespace hearth::engine {

enum class RuneClass : std::uint8_t {
    kNone,         // Outside the text.
    kLetter,       // \p{L}
    kNumber,       // \p{N}
    kSpace,        // \s: the White_Space property
    kPunctuation,  // \p{P}
    kOther,        // Marks, symbols, controls, unassigned, and bytes that are not UTF-8.
};

constexpr char32_t kNoRune = 0x110000;  // Code of a byte that is not part of valid UTF-8.

struct Rune {
    char32_t code = kNoRune;
    std::uint32_t begin = 0;  // Byte offset in the text.
    RuneClass kind = RuneClass::kNone;
};

RuneClass class_of(char32_t code);

// The runes of `text` (under 4 GiB), each invalid byte as one rune of its own, and then one of
// class kNone whose `begin` is the size of the text.
std::vector<Rune> runes_of(std::string_view text);

}  // namespace hearth::engine
