// The grammar of JSON as a state machine over single bytes, with runs of plain text taken at once.
#include "router/session/json_scanner.h"

namespace hearth {
namespace {

constexpr std::uint32_t kReplacement = 0xfffd;

bool is_space(char c) {
    return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}
bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

// Bytes of a string that need no thought: printable ASCII save quote and backslash.
constexpr std::array<bool, 256> kPlain = [] {
    std::array<bool, 256> plain{};
    for (std::size_t c = 0x20; c < 0x80; ++c) plain[c] = c != '"' && c != '\\';
    return plain;
}();

int hex_value_of(char c) {
    if (is_digit(c)) return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

}  // namespace

JsonScanner::Piece JsonScanner::bad(const char* why) {
    state_ = State::kBad;
    error_ = why;
    return {JsonEvent::kBad, {}};
}

JsonScanner::Piece JsonScanner::part(std::string_view text) const {
    return {in_key_ ? JsonEvent::kKeyPart : JsonEvent::kTextPart, text};
}

JsonScanner::Piece JsonScanner::next(std::string_view& rest) {
    while (!rest.empty()) {
        const Piece piece = step(rest);
        if (piece.event != JsonEvent::kNone) return piece;
    }
    return {};
}

JsonScanner::Piece JsonScanner::step(std::string_view& rest) {
    switch (state_) {
        case State::kBad: return {JsonEvent::kBad, {}};
        case State::kString: return string(rest);
        case State::kLiteral: return literal(rest);
        case State::kEscape:
        case State::kHex: {
            const char c = rest.front();
            rest.remove_prefix(1);
            return state_ == State::kHex ? hex(c) : escape(c);
        }
        case State::kMinus:
        case State::kZero:
        case State::kDigits:
        case State::kDot:
        case State::kFraction:
        case State::kExponent:
        case State::kExponentSign:
        case State::kExponentDigits: return number(rest);
        default: break;
    }
    const char c = rest.front();
    if (is_space(c)) {
        rest.remove_prefix(1);
        return {};
    }
    const std::string_view byte = rest.substr(0, 1);
    rest.remove_prefix(1);
    return structure(byte);
}

JsonScanner::Piece JsonScanner::structure(std::string_view byte) {
    const char c = byte.front();
    switch (state_) {
        case State::kFirstElement:
            if (c == ']') return close(false);
            [[fallthrough]];
        case State::kValue: return begin_value(byte);
        case State::kFirstKey:
            if (c == '}') return close(true);
            [[fallthrough]];
        case State::kKey:
            if (c != '"') return bad("a key is expected");
            in_key_ = true;
            state_ = State::kString;
            return {};
        case State::kColon:
            if (c != ':') return bad("':' is expected after a key");
            state_ = State::kValue;
            return {};
        case State::kAfterValue:
            if (c == ',') {
                state_ = is_object_[depth_ - 1] ? State::kKey : State::kValue;
                return {};
            }
            if (c == '}' || c == ']') return close(c == '}');
            return bad("',' or the end of the object or array is expected");
        default: return bad("bytes after the end of the document");
    }
}

JsonScanner::Piece JsonScanner::begin_value(std::string_view byte) {
    const char c = byte.front();
    if (c == '{' || c == '[') return open(c == '{');
    if (c == '"') {
        in_key_ = false;
        state_ = State::kString;
        return {};
    }
    if (c == '-') {
        state_ = State::kMinus;
    } else if (is_digit(c)) {
        state_ = c == '0' ? State::kZero : State::kDigits;
    } else {
        literal_ = c == 't' ? "rue" : c == 'f' ? "alse" : c == 'n' ? "ull" : "";
        if (literal_.empty()) return bad("a value is expected");
        state_ = State::kLiteral;
    }
    return {JsonEvent::kScalarPart, byte};
}

JsonScanner::Piece JsonScanner::open(bool object) {
    if (depth_ == kScanDepthMax) return bad("nested too deeply");
    is_object_[depth_++] = object;
    state_ = object ? State::kFirstKey : State::kFirstElement;
    return {object ? JsonEvent::kBeginObject : JsonEvent::kBeginArray, {}};
}

JsonScanner::Piece JsonScanner::close(bool object) {
    if (is_object_[depth_ - 1] != object)
        return bad("an object or array is closed by the other's end");
    --depth_;
    after_value();
    return {object ? JsonEvent::kEndObject : JsonEvent::kEndArray, {}};
}

// Unicode 15, table 3-7: no overlong forms, no surrogates, nothing above U+10FFFF.
bool JsonScanner::utf8_step(unsigned char c) {
    if (utf8_left_ > 0) {
        if (c < utf8_low_ || c > utf8_high_) return false;
        utf8_low_ = 0x80;
        utf8_high_ = 0xbf;
        --utf8_left_;
        return true;
    }
    if (c < 0x80) return true;
    if (c < 0xc2 || c > 0xf4) return false;
    utf8_left_ = c < 0xe0 ? 1 : c < 0xf0 ? 2 : 3;
    if (c == 0xe0) utf8_low_ = 0xa0;
    if (c == 0xed) utf8_high_ = 0x9f;
    if (c == 0xf0) utf8_low_ = 0x90;
    if (c == 0xf4) utf8_high_ = 0x8f;
    return true;
}

JsonScanner::Piece JsonScanner::string(std::string_view& rest) {
    if (high_surrogate_ != 0 && rest.front() != '\\') {
        flush_half_pair();
        return part({unescaped_.data(), unescaped_size_});
    }
    std::size_t size = 0;
    bool ends = false;
    for (; size < rest.size(); ++size) {
        const auto c = static_cast<unsigned char>(rest[size]);
        if (utf8_left_ == 0 && kPlain[c]) continue;
        if (!utf8_step(c)) {
            rest.remove_prefix(size + 1);
            return bad("a string is not UTF-8");
        }
        ends = c == '"' || c == '\\' || c < 0x20;
        if (ends) break;
    }
    if (size > 0) {
        const std::string_view run = rest.substr(0, size);
        rest.remove_prefix(size);
        return part(run);
    }
    const char c = rest.front();
    rest.remove_prefix(1);
    if (c == '\\') {
        state_ = State::kEscape;
        return {};
    }
    if (c != '"') return bad("a control byte in a string");
    if (in_key_) {
        state_ = State::kColon;
        return {JsonEvent::kKeyEnd, {}};
    }
    after_value();
    return {JsonEvent::kTextEnd, {}};
}

JsonScanner::Piece JsonScanner::escape(char c) {
    if (c == 'u') {
        state_ = State::kHex;
        hex_digits_ = 0;
        hex_value_ = 0;
        return {};
    }
    constexpr std::string_view kNames = "\"\\/bfnrt";
    constexpr std::string_view kValues = "\"\\/\b\f\n\r\t";
    const std::size_t at = kNames.find(c);
    if (at == std::string_view::npos) return bad("an unknown escape in a string");
    flush_half_pair();
    append_unescaped(static_cast<unsigned char>(kValues[at]));
    state_ = State::kString;
    return part({unescaped_.data(), unescaped_size_});
}

JsonScanner::Piece JsonScanner::hex(char c) {
    const int digit = hex_value_of(c);
    if (digit < 0) return bad("four hex digits are expected after \\u");
    hex_value_ = hex_value_ * 16 + static_cast<std::uint32_t>(digit);
    if (++hex_digits_ < 4) return {};
    state_ = State::kString;
    return code_unit();
}

// hex_value_ is a UTF-16 code unit: a character, or half of one.
JsonScanner::Piece JsonScanner::code_unit() {
    const bool high = hex_value_ >= 0xd800 && hex_value_ < 0xdc00;
    const bool low = hex_value_ >= 0xdc00 && hex_value_ < 0xe000;
    if (low && high_surrogate_ != 0) {
        const std::uint32_t both =
            0x10000 + ((high_surrogate_ - 0xd800) << 10) + (hex_value_ - 0xdc00);
        high_surrogate_ = 0;
        unescaped_size_ = 0;
        append_unescaped(both);
        return part({unescaped_.data(), unescaped_size_});
    }
    flush_half_pair();
    if (high)
        high_surrogate_ = hex_value_;
    else
        append_unescaped(low ? kReplacement : hex_value_);
    if (unescaped_size_ == 0) return {};
    return part({unescaped_.data(), unescaped_size_});
}

// Starts a new unescaped_, with what a half that stays alone stands for.
void JsonScanner::flush_half_pair() {
    unescaped_size_ = 0;
    if (high_surrogate_ == 0) return;
    high_surrogate_ = 0;
    append_unescaped(kReplacement);
}

void JsonScanner::append_unescaped(std::uint32_t code_point) {
    const auto put = [this](std::uint32_t byte) {
        unescaped_[unescaped_size_++] = static_cast<char>(byte);
    };
    if (code_point < 0x80) {
        put(code_point);
        return;
    }
    if (code_point < 0x800) {
        put(0xc0 | (code_point >> 6));
    } else if (code_point < 0x10000) {
        put(0xe0 | (code_point >> 12));
        put(0x80 | ((code_point >> 6) & 0x3f));
    } else {
        put(0xf0 | (code_point >> 18));
        put(0x80 | ((code_point >> 12) & 0x3f));
        put(0x80 | ((code_point >> 6) & 0x3f));
    }
    put(0x80 | (code_point & 0x3f));
}

// Moves on by one byte of a number; false if the number ended before it.
bool JsonScanner::number_step(char c) {
    const bool digit = is_digit(c);
    const bool exponent = c == 'e' || c == 'E';
    switch (state_) {
        case State::kMinus:
            if (digit) state_ = c == '0' ? State::kZero : State::kDigits;
            return digit;
        case State::kZero:
        case State::kDigits:
            if (c != '.' && !exponent) return digit && state_ == State::kDigits;
            state_ = exponent ? State::kExponent : State::kDot;
            return true;
        case State::kDot:
        case State::kFraction:
            if (exponent && state_ == State::kFraction) {
                state_ = State::kExponent;
                return true;
            }
            if (digit) state_ = State::kFraction;
            return digit;
        case State::kExponent:
            if (c == '+' || c == '-') {
                state_ = State::kExponentSign;
                return true;
            }
            [[fallthrough]];
        default:
            if (digit) state_ = State::kExponentDigits;
            return digit;
    }
}

bool JsonScanner::number_may_end() const {
    return state_ == State::kZero || state_ == State::kDigits || state_ == State::kFraction ||
           state_ == State::kExponentDigits;
}

JsonScanner::Piece JsonScanner::number(std::string_view& rest) {
    std::size_t size = 0;
    while (size < rest.size() && number_step(rest[size])) ++size;
    if (size > 0) {
        const std::string_view run = rest.substr(0, size);
        rest.remove_prefix(size);
        return {JsonEvent::kScalarPart, run};
    }
    if (!number_may_end()) {
        rest.remove_prefix(1);
        return bad("a number is not complete");
    }
    after_value();
    return {JsonEvent::kScalarEnd, {}};
}

JsonScanner::Piece JsonScanner::literal(std::string_view& rest) {
    if (literal_.empty()) {
        after_value();
        return {JsonEvent::kScalarEnd, {}};
    }
    const std::string_view byte = rest.substr(0, 1);
    rest.remove_prefix(1);
    if (byte.front() != literal_.front()) return bad("a value is expected");
    literal_.remove_prefix(1);
    return {JsonEvent::kScalarPart, byte};
}

bool JsonScanner::finish() {
    const bool literal_ended = state_ == State::kLiteral && literal_.empty();
    if (depth_ == 0 && (number_may_end() || literal_ended)) state_ = State::kDone;
    if (state_ == State::kDone) return true;
    if (state_ != State::kBad) bad("the document is not complete");
    return false;
}

}  // namespace hearth
