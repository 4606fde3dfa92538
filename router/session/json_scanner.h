// JsonScanner: JSON (RFC 8259) as a stream of tokens from bytes that arrive in pieces; no memory.
#pragma once

#include <array>
#include <bitset>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace hearth {

constexpr std::size_t kScanDepthMax = 128;

enum class JsonEvent : std::uint8_t {
    kNone,  // All bytes were used up.
    kBeginObject,
    kEndObject,
    kBeginArray,
    kEndArray,
    kKeyPart,  // Some bytes of a key or text, escapes resolved; their boundaries mean nothing.
    kKeyEnd,
    kTextPart,
    kTextEnd,
    kScalarPart,  // Bytes of a number, true, false or null, as sent.
    kScalarEnd,
    kBad,  // Not JSON; error() says why. Final.
};

// Owned by one reader. Checks the whole grammar and that strings are UTF-8. Escapes come out as the
// bytes they stand for, so that equal texts give equal bytes however they were written; half of a
// surrogate pair, which JavaScript sends for a text cut in the middle of an emoji, gives U+FFFD.
class JsonScanner {
  public:
    struct Piece {
        JsonEvent event = JsonEvent::kNone;
        std::string_view text;  // Of a ...Part; valid until the next call.
    };

    // The next token; takes what it used off the front of `rest`, with kBad up to and with the byte
    // at fault.
    Piece next(std::string_view& rest);

    // At the end of the input: true if exactly one whole value was read. A number that stands alone
    // ends here.
    bool finish();

    std::size_t depth() const { return depth_; }  // Objects and arrays that are open.
    const char* error() const { return error_; }

  private:
    enum class State : std::uint8_t {
        kValue,
        kFirstElement,
        kFirstKey,
        kKey,
        kColon,
        kAfterValue,
        kString,
        kEscape,
        kHex,
        kMinus,
        kZero,
        kDigits,
        kDot,
        kFraction,
        kExponent,
        kExponentSign,
        kExponentDigits,
        kLiteral,
        kDone,
        kBad,
    };

    Piece step(std::string_view& rest);
    Piece structure(std::string_view byte);
    Piece begin_value(std::string_view byte);
    Piece open(bool object);
    Piece close(bool object);
    Piece string(std::string_view& rest);
    Piece escape(char c);
    Piece hex(char c);
    Piece code_unit();
    Piece number(std::string_view& rest);
    bool number_step(char c);
    bool number_may_end() const;
    Piece literal(std::string_view& rest);
    Piece bad(const char* why);
    Piece part(std::string_view text) const;
    bool utf8_step(unsigned char c);
    void after_value() { state_ = depth_ == 0 ? State::kDone : State::kAfterValue; }
    void append_unescaped(std::uint32_t code_point);
    void flush_half_pair();

    State state_ = State::kValue;
    bool in_key_ = false;                   // The string being read is a key.
    std::bitset<kScanDepthMax> is_object_;  // Per open level.
    std::size_t depth_ = 0;
    unsigned utf8_left_ = 0;         // Continuation bytes still owed,
    unsigned char utf8_low_ = 0x80;  // and the bounds of the next one.
    unsigned char utf8_high_ = 0xbf;
    unsigned hex_digits_ = 0;
    std::uint32_t hex_value_ = 0;
    std::uint32_t high_surrogate_ = 0;  // Waits for its other half; 0 = none.
    std::array<char, 8> unescaped_{};
    std::size_t unescaped_size_ = 0;
    std::string_view literal_;  // What is still to come of true, false or null.
    const char* error_ = "";
};

}  // namespace hearth
