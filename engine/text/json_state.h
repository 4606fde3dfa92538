// JsonState: how far a text is in a JsonGrammar: a pushdown automaton, one byte at a time.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>

#include "engine/text/json_grammar.h"

namespace hearth::engine {

// A value, cheap to copy: a trie of tokens is walked with copies. The grammar outlives it. Every
// state that push() reaches can be led to the end of the text.
class JsonState {
  public:
    explicit JsonState(const JsonGrammar& grammar);
    JsonState(const JsonState& other) { *this = other; }
    JsonState& operator=(const JsonState& other);

    // False if no text of the grammar goes on so; the state is then of no more use.
    bool push(unsigned char byte);
    bool push_all(std::string_view bytes);

    bool is_done() const { return depth_ == 0; }  // Whole, and nothing may follow.
    bool may_end() const;                         // Whole; a number's next digit may still follow.
    // Between the characters of a text value or of a free object's key: whatever is valid UTF-8
    // and neither a quote, a backslash nor a control character may follow, and leads back here.
    bool is_in_text() const { return depth_ > 0 && top().step == Step::kText; }

  private:
    enum class Step : std::uint8_t {
        kStart,  // Of any value.
        kOpen,
        kKey,
        kColon,
        kNextKey,
        kAfterValue,  // Objects and arrays.
        kText,
        kEscape,
        kHex,
        kLowSlash,
        kLowU,
        kUtf8,  // Texts.
        kMinus,
        kZero,
        kDigits,
        kPoint,
        kFraction,
        kExp,
        kExpSign,
        kExpDigits,
        kLiteral,
        kBack,
    };
    struct Frame {
        std::int32_t shape = 0;
        Step step = Step::kStart;
        std::int32_t at = 0;     // Trie node; bytes allowed next; digits seen; bytes of `back`.
        std::int32_t count = 0;  // Items; members passed; digits; bytes still to come.
    };
    Frame& top() { return stack_[depth_ - 1]; }
    const Frame& top() const { return stack_[depth_ - 1]; }
    bool open(std::int32_t shape, Step step = Step::kStart);
    bool close() {
        --depth_;
        return true;
    }
    bool to(Step step) {
        top().step = step;
        return true;
    }

    bool take_blank();
    bool start(unsigned char byte);
    bool take_object(unsigned char byte);
    bool take_record(unsigned char byte);
    bool take_array(unsigned char byte);
    bool take_text(unsigned char byte);
    bool take_hex(unsigned char byte);
    bool take_number(unsigned char byte);
    bool take_literal(unsigned char byte);
    bool take_framed(unsigned char byte);
    bool end_number_then(unsigned char byte);

    const JsonGrammar* grammar_ = nullptr;
    std::size_t depth_ = 0;
    std::int32_t blanks_ = 0;
    std::array<Frame, kJsonStackMax> stack_;  // The first depth_ of them count.
};

}  // namespace hearth::engine
