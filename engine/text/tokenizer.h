// Tokenizer: text to token ids and back, exact against the reference of each family. No regex
// engine.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/result.h"
#include "engine/model/vocabulary.h"

namespace hearth::engine {

// Immutable after make; any thread may call.
class Tokenizer {
  public:
    // kUnsupported names a pre-tokenizer rule we do not know; kCorrupt names a bad table entry.
    static Result<std::unique_ptr<Tokenizer>> make(const VocabularySpec& spec);
    virtual ~Tokenizer() = default;

    enum class Special { kParse, kPlain };  // Is "<|im_end|>" in the text a control token or text?

    // Appends the ids of `text` to `out`. Never adds BOS. Invalid UTF-8 is tokenised byte by byte;
    // bytes that the vocabulary has no token for are left out. User-defined tokens are taken as
    // tokens in both modes (as the references do), the longest at the leftmost place first.
    // Time is O(n log n) in the length of `text`, whatever it holds.
    virtual void encode(std::string_view text, Special special,
                        std::vector<TokenId>& out) const = 0;

    // The same for text that goes on where other text ended: SentencePiece puts no U+2581 in front.
    virtual void encode_continuation(std::string_view text, Special special,
                                     std::vector<TokenId>& out) const = 0;

    // The bytes of one token as they appear in text; control tokens give "" unless `keep_special`.
    // SentencePiece keeps a leading space, as the token continues other text. An id outside the
    // vocabulary gives "".
    virtual std::string decode(TokenId id, bool keep_special = false) const = 0;

    virtual std::int32_t size() const = 0;
    virtual const VocabularySpec& spec() const = 0;
    virtual bool ends_reply(TokenId id) const = 0;           // EOS or an end-of-turn token.
    virtual TokenId find(std::string_view token) const = 0;  // -1 if there is no such token.
};

// Turns a stream of tokens into text without ever emitting half a UTF-8 sequence.
// Bytes that can never become valid UTF-8 come out as U+FFFD, one for each maximal subpart
// (Unicode 15 §3.9). The stream continues a prompt, so a leading space of the first token stays:
// prompt text + reply text is the text of prompt tokens + reply tokens. Templates that put a space
// before a reply trim it when they render the turn again. One owner.
class StreamingDetokenizer {
  public:
    explicit StreamingDetokenizer(const Tokenizer& tokenizer) : tokenizer_(tokenizer) {}
    std::string add(TokenId id);  // Text that is now certain.
    std::string finish();         // What is left at the end.

  private:
    const Tokenizer& tokenizer_;
    std::string pending_;  // At most three bytes between calls.
};

}  // namespace hearth::engine
