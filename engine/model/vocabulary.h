// VocabularySpec: a tokenizer's tables as read from a GGUF file or a tokenizer.json.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "engine/model/config.h"

namespace hearth::engine {

enum class VocabularyKind {
    kByteLevelBpe,   // GGUF "gpt2", tokenizer.json ByteLevel BPE: bytes mapped to printable runes.
    kSentencePiece,  // GGUF "llama": scores, U+2581 for space, byte fallback <0xNN>.
};

enum class TokenType : std::uint8_t { kNormal, kUnknown, kControl, kUserDefined, kUnused, kByte };

struct VocabularySpec {
    VocabularyKind kind = VocabularyKind::kByteLevelBpe;
    std::string pre_tokenizer;        // GGUF's name: "gpt-2", "llama-bpe", "smollm", ...
    std::string pre_tokenizer_regex;  // tokenizer.json's own Split pattern, if it has one.
    bool ignore_merges = false;       // A word that is a token skips merging (Llama 3).
    bool nfc = false;                 // Text is composed first (UAX #15): Qwen.
    bool split_digits = false;        // tokenizer.json's Digits(individual_digits=true).
    std::vector<std::string> tokens;  // As written in the file (mapped runes, U+2581).
    std::vector<TokenType> types;     // Same size as tokens.
    std::vector<float> scores;        // SentencePiece; empty otherwise.
    std::vector<std::pair<std::string, std::string>> merges;  // BPE, best first.
    TokenId bos = -1, eos = -1, unknown = -1;
    std::vector<TokenId> end_of_turn;  // Further ids that end a reply (<|eot_id|>, ...).
    bool add_bos = false;
    bool add_space_prefix = true;  // SentencePiece: U+2581 in front of the first text.
};

}  // namespace hearth::engine
