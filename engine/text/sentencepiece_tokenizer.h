// SentencePieceTokenizer: score-driven merging with byte fallback (Kudo, Richardson 2018), GGUF
// "llama".
#pragma once

#include <array>
#include <memory>
#include <unordered_map>

#include "engine/text/vocabulary_table.h"

namespace hearth::engine {

// Immutable after make; any thread. A space is U+2581 in the tables; a rune without a token becomes
// its bytes' tokens <0xNN>, or the unknown token if the vocabulary has none.
class SentencePieceTokenizer final : public VocabularyTable {
  public:
    static Result<std::unique_ptr<Tokenizer>> make(const VocabularySpec& spec);

  protected:
    void encode_text(std::string_view text, bool first, std::vector<TokenId>& out) const override;

  private:
    explicit SentencePieceTokenizer(const VocabularySpec& spec);
    TokenId piece(std::string_view text) const;

    std::unordered_map<std::string_view, TokenId> pieces_;  // What merging may make.
    std::size_t longest_ = 0;                               // Bytes of the longest piece.
    std::array<TokenId, 256> byte_ids_{};
};

}  // namespace hearth::engine
