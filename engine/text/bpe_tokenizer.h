// BpeTokenizer: byte-level byte-pair encoding as GPT-2 introduced it (Radford et al. 2019).
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <unordered_map>

#include "engine/text/merge_queue.h"
#include "engine/text/pre_tokenizer.h"
#include "engine/text/vocabulary_table.h"

namespace hearth::engine {

// Immutable after make; any thread. Files write tokens in GPT-2's printable runes; here every token
// is held as the raw bytes it stands for, and merges as pairs of ids.
class BpeTokenizer final : public VocabularyTable {
  public:
    static Result<std::unique_ptr<Tokenizer>> make(const VocabularySpec& spec);

  protected:
    void encode_text(std::string_view text, bool first, std::vector<TokenId>& out) const override;

  private:
    struct Merge {
        std::uint32_t rank = 0;
        TokenId merged = -1;
    };
    struct Scratch {
        std::vector<Symbol> symbols;
        std::vector<MergeCandidate<std::uint32_t>> heap;
    };

    BpeTokenizer(const VocabularySpec& spec, PreTokenizer pre_tokenizer);
    Result<void> index_merges();
    void encode_word(std::string_view word, Scratch& scratch, std::vector<TokenId>& out) const;

    PreTokenizer pre_tokenizer_;
    std::array<TokenId, 256> byte_ids_{};
    std::unordered_map<std::uint64_t, Merge> merges_;      // By left id << 32 | right id.
    std::unordered_map<std::string_view, TokenId> words_;  // Only with ignore_merges.
};

}  // namespace hearth::engine
