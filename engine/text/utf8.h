// One step of UTF-8 decoding, strict as Unicode 15 §3.9 table 3-7; never reads past the view.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace hearth::engine {

struct Utf8Step {
    enum class Kind : std::uint8_t {
        kRune,       // `rune` is valid and `length` bytes long.
        kInvalid,    // `length` bytes are a maximal subpart of an ill-formed sequence.
        kTruncated,  // All `length` bytes that are left begin a sequence that more could complete.
    };
    char32_t rune = 0;
    std::uint8_t length = 1;
    Kind kind = Kind::kRune;
};

// `text` must not be empty.
Utf8Step next_rune(std::string_view text);

// Moves what is certain from `pending` to the end of `out`, ill-formed parts as U+FFFD (one for
// each maximal subpart). A truncated tail stays in `pending`, unless `at_end`, which makes it
// U+FFFD.
void take_valid_utf8(std::string& pending, bool at_end, std::string& out);

}  // namespace hearth::engine
