// PreTokenizer: cuts text into the words inside which byte-level BPE merges. No regex engine.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "common/base/result.h"
#include "engine/model/vocabulary.h"

namespace hearth::engine {

// Immutable; any thread. A rule is a list of passes, as model files state it: each pass cuts every
// piece that the ones before left into its matches and what lies between, and sees no further than
// its piece. Each pass takes time linear in the text.
class PreTokenizer {
  public:
    // By the tokenizer.json pattern if there is one, else by GGUF's name; split_digits goes first.
    // kUnsupported names the unknown pattern or name.
    static Result<PreTokenizer> make(const VocabularySpec& spec);

    // Replaces `ends` by the byte offset of each word's end; the last one is text.size().
    void split(std::string_view text, std::vector<std::uint32_t>& ends) const;

    enum class Pass : std::uint8_t {
        kGpt2,        // 's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
        kLlama3,      // The same idea; numbers by three, one odd rune may lead a word.
        kQwen2,       // As Llama 3, numbers one by one.
        kEachNumber,  // \p{N}
        kNumberRuns,  // \p{N}+
        kDigitTriples,     // [0-9][0-9][0-9]
        kPunctuation,      // [\p{P}$+<=>^~|]+
        kPunctuationTick,  // The same and the back tick.
        kNewlines,         // [\r\n]
        kCasedWords,       // \s?[letters with case]+, DeepSeek's own list
        kWidePunctuation,  // \s?[!-/:-~ and full-width forms]+, which holds ASCII letters too
        kTrailingSpace,    // \s+$
        kSpacedLetters,    // \s?\p{L}+
        kSpacedMarks,      // \s?\p{P}+
        kEastAsian,        // [U+0800-U+9FA5 U+AC00-U+D7FF]+
    };

  private:
    std::vector<Pass> passes_;
};

}  // namespace hearth::engine
