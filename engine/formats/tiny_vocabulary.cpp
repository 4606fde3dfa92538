// Builds the tiny models' vocabulary: frequent English pairs, and a few characters of two and three
// bytes so that text from such a model exercises decoding of UTF-8 that arrives in parts.
#include "engine/formats/tiny_vocabulary.h"

#include <algorithm>
#include <string_view>

namespace hearth::engine {

namespace {

// Best first, "left right" between bars; each side is a byte's rune or the result of an earlier
// pair.
constexpr std::string_view kMerges =
    "Ġ t|Ġ a|h e|i n|r e|o n|Ġt he|e r|Ġ s|a t|Ġ w|e n|Ġ o|o r|i t|a n|e s|i s|n d|Ġ b|"
    "in g|Ġ c|e d|o u|Ġ f|Ġ m|Ġ p|a r|Ġ h|Ġ d|Ġt o|Ġa nd|l l|Ġ l|Ġo f|a l|Ġ n|Ġ i|"
    "o m|a s|Ġ y|v e|Ġ g|l e|Ġy ou|o w|i c|Ġi n|Ġi t|Ġ e|s t|o t|Ġi s|r o|i d|Ġ I|l y|"
    "i l|u r|c h|a y|e t|Ġ r|Ġb e|Ġt h|Ġth at|c e|s e|v er|Ġw as|Ġf or|Ġo n|Ġh e|i on|"
    "t er|it h|Ġw ith|a ve|Ġh ave|g h|gh t|i ght|Ġm e|Ġm y|Ġs o|Ġd o|Ġn ot|Ġw e|r i|"
    "r a|u s|Ġs he|Ġa re|k e|o o|oo k|ou t|m e|d e|l o|Ġl i|Ġli ke|Ġw h|Ġwh at|a id|"
    "Ġs aid|Ġd ay|Ġg o|oo d|Ġg ood|Ġl o|Ġlo ve|Ġh er|Ġyou r|Ġc an|n ow|Ġ k|Ġk now|"
    "Ġ T|ĠT he|Ã ©|Ã ¼|â Ģ|âĢ Ķ|u p";

// Random models speak mostly ASCII: other bytes would be noise, and control tokens would end
// replies early. Nothing is ruled out.
constexpr float kSpoken = 1.0f;
constexpr float kRare = 0.35f;
constexpr float kControl = 0.2f;

std::string rune_utf8(std::uint32_t rune) {
    if (rune < 0x80) return std::string(1, static_cast<char>(rune));
    return {static_cast<char>(0xc0 | rune >> 6), static_cast<char>(0x80 | (rune & 0x3f))};
}

bool stands_for_itself(std::uint32_t byte) {
    return (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte != 0xad);
}

}  // namespace

std::string byte_rune(std::uint8_t byte) {
    if (stands_for_itself(byte)) return rune_utf8(byte);
    std::uint32_t rune = 0x100;  // The others follow one another from here, in order.
    for (std::uint32_t before = 0; before < byte; ++before)
        if (!stands_for_itself(before)) ++rune;
    return rune_utf8(rune);
}

TinyVocabulary make_tiny_vocabulary() {
    TinyVocabulary out;
    const auto add = [&out](std::string token, std::int32_t type, float gain) {
        out.tokens.push_back(std::move(token));
        out.types.push_back(type);
        out.output_gains.push_back(gain);
    };
    for (std::uint32_t byte = 0; byte < 256; ++byte) {
        const bool spoken = (byte >= 0x20 && byte <= 0x7e) || byte == '\n';
        add(byte_rune(static_cast<std::uint8_t>(byte)), 1, spoken ? kSpoken : kRare);
    }
    for (std::string_view rest = kMerges; !rest.empty();) {
        const std::string_view merge = rest.substr(0, rest.find('|'));
        const auto space = merge.find(' ');
        add(std::string(merge.substr(0, space)) + std::string(merge.substr(space + 1)), 1, kSpoken);
        out.merges.emplace_back(merge);
        rest.remove_prefix(std::min(rest.size(), merge.size() + 1));
    }
    out.end_of_text = static_cast<std::int32_t>(out.tokens.size());
    add("<|endoftext|>", 3, kControl);
    add("<|im_start|>", 3, kControl);
    out.message_end = static_cast<std::int32_t>(out.tokens.size());
    add("<|im_end|>", 3, kControl);
    return out;
}

}  // namespace hearth::engine
