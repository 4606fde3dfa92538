// The byte-level vocabulary that every tiny model has: 256 bytes, 125 merges, 3 control tokens.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace hearth::engine {

struct TinyVocabulary {
    std::vector<std::string> tokens;  // As GGUF writes them: bytes as mapped runes.
    std::vector<std::int32_t> types;  // GGUF's numbers: 1 normal, 3 control.
    std::vector<std::string> merges;  // "left right", best first.
    std::vector<float> output_gains;  // How likely a random model is to say each token.
    std::int32_t end_of_text = 0;
    std::int32_t message_end = 0;
};
TinyVocabulary make_tiny_vocabulary();

// GPT-2's map of a byte to a printable rune, in UTF-8 (Radford et al. 2019, "bytes_to_unicode").
std::string byte_rune(std::uint8_t byte);

}  // namespace hearth::engine
