// VocabularyTable: what both tokenizer kinds share: look-up by text, special tokens, end-of-reply
// ids.
#pragma once

#include <array>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "common/base/result.h"
#include "engine/text/tokenizer.h"

namespace hearth::engine {

// Immutable after make; any thread. Invariant: every id it returns is in [0, size()).
class VocabularyTable : public Tokenizer {
  public:
    void encode(std::string_view text, Special special, std::vector<TokenId>& out) const final {
        encode_fragments(text, special, true, out);
    }
    void encode_continuation(std::string_view text, Special special,
                             std::vector<TokenId>& out) const final {
        encode_fragments(text, special, false, out);
    }
    std::string decode(TokenId id, bool keep_special) const final;
    std::int32_t size() const final { return static_cast<std::int32_t>(spec_.tokens.size()); }
    const VocabularySpec& spec() const final { return spec_; }
    bool ends_reply(TokenId id) const final;
    TokenId find(std::string_view token) const final;

  protected:
    explicit VocabularyTable(const VocabularySpec& spec);

    // kCorrupt names the table or id that contradicts the others.
    static Result<void> check(const VocabularySpec& spec);

    // Ids of text without special tokens; `first` if nothing or a special token comes before it.
    virtual void encode_text(std::string_view text, bool first,
                             std::vector<TokenId>& out) const = 0;

    TokenType type(TokenId id) const { return spec_.types[static_cast<std::size_t>(id)]; }
    bool is_special(TokenId id) const {  // Never made by merging text.
        return type(id) == TokenType::kControl || type(id) == TokenType::kUnknown;
    }

    std::vector<std::string> bytes_;  // By id: what the token stands for in text.

  private:
    struct Match {
        std::size_t begin = 0;
        std::size_t length = 0;
        TokenId id = -1;
    };
    void index_special_tokens();
    void mark_reply_ends();
    Match next_special(std::string_view text, std::size_t from, Special special) const;
    void encode_fragments(std::string_view text, Special special, bool first,
                          std::vector<TokenId>& out) const;

    VocabularySpec spec_;
    std::unordered_map<std::string_view, TokenId> by_text_;  // Views into spec_.tokens.
    std::vector<bool> ends_reply_;
    // Special and user-defined tokens, and by first byte the lengths they have, longest first.
    std::unordered_map<std::string_view, TokenId> specials_;
    std::array<std::vector<std::size_t>, 256> special_lengths_;
};

}  // namespace hearth::engine
