// UTF-8 decoding by the byte ranges of Unicode's table 3-7.
#include "engine/text/utf8.h"

#include "common/base/check.h"

namespace hearth::engine {
namespace {

struct Lead {
    std::uint8_t following = 0;  // Bytes after the first; 0 for a byte that begins nothing.
    std::uint8_t low = 0x80;     // Range of the second byte: it excludes overlong forms,
    std::uint8_t high = 0xBF;    // surrogates and everything above U+10FFFF.
};

Lead lead_of(std::uint8_t byte) {
    if (byte >= 0xC2 && byte <= 0xDF) return {1};
    if (byte == 0xE0) return {2, 0xA0, 0xBF};
    if (byte == 0xED) return {2, 0x80, 0x9F};
    if (byte >= 0xE1 && byte <= 0xEF) return {2};
    if (byte == 0xF0) return {3, 0x90, 0xBF};
    if (byte >= 0xF1 && byte <= 0xF3) return {3};
    if (byte == 0xF4) return {3, 0x80, 0x8F};
    return {};
}

}  // namespace

Utf8Step next_rune(std::string_view text) {
    CHECK(!text.empty());
    const auto first = static_cast<std::uint8_t>(text[0]);
    if (first < 0x80) return {first, 1, Utf8Step::Kind::kRune};
    const Lead lead = lead_of(first);
    if (lead.following == 0) return {0, 1, Utf8Step::Kind::kInvalid};
    char32_t rune = first & (0x3Fu >> lead.following);
    for (std::uint8_t i = 1; i <= lead.following; ++i) {
        if (i == text.size()) return {0, i, Utf8Step::Kind::kTruncated};
        const auto byte = static_cast<std::uint8_t>(text[i]);
        const std::uint8_t low = i == 1 ? lead.low : 0x80;
        const std::uint8_t high = i == 1 ? lead.high : 0xBF;
        if (byte < low || byte > high) return {0, i, Utf8Step::Kind::kInvalid};
        rune = (rune << 6) | (byte & 0x3Fu);
    }
    const auto length = static_cast<std::uint8_t>(lead.following + 1);
    return {rune, length, Utf8Step::Kind::kRune};
}

void take_valid_utf8(std::string& pending, bool at_end, std::string& out) {
    std::string_view rest = pending;
    while (!rest.empty()) {
        const Utf8Step step = next_rune(rest);
        if (step.kind == Utf8Step::Kind::kTruncated && !at_end) break;
        if (step.kind == Utf8Step::Kind::kRune) {
            out.append(rest.substr(0, step.length));
        } else {
            out.append("\xEF\xBF\xBD");
        }
        rest.remove_prefix(step.length);
    }
    pending.erase(0, pending.size() - rest.size());
}

}  // namespace hearth::engine
