// Rune classes from utf8proc's category table, with a small table of our own for ASCII.
#include "engine/text/runes.h"

#include <utf8proc.h>

#include <array>
#include <limits>

#include "common/base/check.h"
#include "engine/text/utf8.h"

namespace hearth::engine {
namespace {

// White_Space of Unicode's PropList; regex engines mean this set by \s.
bool is_space(char32_t c) {
    return (c >= 0x09 && c <= 0x0D) || c == 0x20 || c == 0x85 || c == 0xA0 || c == 0x1680 ||
           (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F ||
           c == 0x205F || c == 0x3000;
}

RuneClass look_up(char32_t code) {
    if (code >= kNoRune) return RuneClass::kOther;
    if (is_space(code)) return RuneClass::kSpace;
    const auto category = utf8proc_category(static_cast<utf8proc_int32_t>(code));
    if (category >= UTF8PROC_CATEGORY_LU && category <= UTF8PROC_CATEGORY_LO) {
        return RuneClass::kLetter;
    }
    if (category >= UTF8PROC_CATEGORY_ND && category <= UTF8PROC_CATEGORY_NO) {
        return RuneClass::kNumber;
    }
    if (category >= UTF8PROC_CATEGORY_PC && category <= UTF8PROC_CATEGORY_PO) {
        return RuneClass::kPunctuation;
    }
    return RuneClass::kOther;
}

}  // namespace

RuneClass class_of(char32_t code) {
    static const std::array<RuneClass, 128> ascii = [] {
        std::array<RuneClass, 128> table{};
        for (char32_t c = 0; c < table.size(); ++c) table[c] = look_up(c);
        return table;
    }();
    return code < ascii.size() ? ascii[code] : look_up(code);
}

std::vector<Rune> runes_of(std::string_view text) {
    CHECK(text.size() < std::numeric_limits<std::uint32_t>::max());
    std::vector<Rune> runes;
    runes.reserve(text.size() + 1);
    std::size_t at = 0;
    while (at < text.size()) {
        const Utf8Step step = next_rune(text.substr(at));
        const bool valid = step.kind == Utf8Step::Kind::kRune;
        const char32_t code = valid ? step.rune : kNoRune;
        runes.push_back({code, static_cast<std::uint32_t>(at), class_of(code)});
        at += valid ? step.length : 1;
    }
    runes.push_back({kNoRune, static_cast<std::uint32_t>(text.size()), RuneClass::kNone});
    return runes;
}

}  // namespace hearth::engine
