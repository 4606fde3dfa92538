// JsonState: RFC 8259 byte by byte, bounded where a model could go on for ever.
#include "engine/text/json_state.h"

#include "common/base/check.h"

namespace hearth::engine {
namespace {

using Kind = JsonGrammar::Kind;
using Shape = JsonGrammar::Shape;

bool is_digit(unsigned char byte) {
    return byte >= '0' && byte <= '9';
}

int hex_value(unsigned char byte) {
    if (is_digit(byte)) return byte - '0';
    if (byte >= 'a' && byte <= 'f') return byte - 'a' + 10;
    if (byte >= 'A' && byte <= 'F') return byte - 'A' + 10;
    return -1;
}

bool is_blank(unsigned char byte) {
    return byte == ' ' || byte == '\n' || byte == '\t' || byte == '\r';
}

// How a UTF-8 character goes on behind its first byte (Unicode 15, table 3-7).
struct Utf8Tail {
    std::int32_t bytes = 0;  // 0 = no character begins so.
    unsigned char low = 0x80, high = 0xbf;
};
Utf8Tail utf8_tail(unsigned char first) {
    if (first >= 0xc2 && first <= 0xdf) return {1};
    if (first == 0xe0) return {2, 0xa0, 0xbf};
    if (first == 0xed) return {2, 0x80, 0x9f};
    if (first >= 0xe1 && first <= 0xef) return {2};
    if (first == 0xf0) return {3, 0x90, 0xbf};
    if (first == 0xf4) return {3, 0x80, 0x8f};
    if (first >= 0xf1 && first <= 0xf3) return {3};
    return {};
}

// Of a \u escape: whether it is to be the second half of a pair, or has turned out the first.
constexpr std::int32_t kAnyUnit = 0, kLowUnit = 1, kHighUnit = 2;

}  // namespace

JsonState::JsonState(const JsonGrammar& grammar) : grammar_(&grammar) {
    open(grammar.root());
}

JsonState& JsonState::operator=(const JsonState& other) {
    grammar_ = other.grammar_;
    depth_ = other.depth_;
    blanks_ = other.blanks_;
    std::copy_n(other.stack_.begin(), depth_, stack_.begin());
    return *this;
}

bool JsonState::open(std::int32_t shape, Step step) {
    CHECK(depth_ < kJsonStackMax);
    stack_[depth_++] = Frame{shape, step, 0, 0};
    return true;
}

bool JsonState::push_all(std::string_view bytes) {
    return std::all_of(bytes.begin(), bytes.end(),
                       [this](char c) { return push(static_cast<unsigned char>(c)); });
}

bool JsonState::push(unsigned char byte) {
    if (depth_ == 0) return false;
    const Step step = top().step;
    const bool parts = step == Step::kStart || step == Step::kOpen || step == Step::kNextKey ||
                       step == Step::kAfterValue;
    const Kind kind = grammar_->shape(top().shape).kind;
    const bool is_fixed = step == Step::kStart && kind == Kind::kFramed;
    if (parts && !is_fixed && is_blank(byte)) return take_blank();
    blanks_ = 0;
    if (step == Step::kStart) return start(byte);
    switch (kind) {
        case Kind::kFreeObject: return take_object(byte);
        case Kind::kRecord: return take_record(byte);
        case Kind::kArray: return take_array(byte);
        case Kind::kText: return take_text(byte);
        case Kind::kNumber: return take_number(byte);
        case Kind::kLiteral: return take_literal(byte);
        case Kind::kFramed: return take_framed(byte);
        case Kind::kOneOf: break;  // It became one of its children at its first byte.
    }
    return false;
}

bool JsonState::take_blank() {
    return ++blanks_ <= kJsonBlanksMax;
}

bool JsonState::start(unsigned char byte) {
    const Shape* shape = &grammar_->shape(top().shape);
    while (shape->kind == Kind::kOneOf) {
        std::int32_t chosen = -1;
        for (const std::int32_t child : shape->children)
            if (grammar_->shape(child).first.test(byte)) chosen = child;
        if (chosen < 0) return false;
        top().shape = chosen;
        shape = &grammar_->shape(chosen);
    }
    const bool is_free =
        top().shape == JsonGrammar::kFreeObject || top().shape == JsonGrammar::kFreeArray;
    if (is_free && depth_ > kJsonFreeDepthMax) return false;
    switch (shape->kind) {
        case Kind::kFreeObject:
        case Kind::kRecord: return byte == '{' && to(Step::kOpen);
        case Kind::kArray: return byte == '[' && to(Step::kOpen);
        case Kind::kText: return byte == '"' && to(Step::kText);
        case Kind::kNumber: return take_number(byte);
        case Kind::kLiteral: return to(Step::kLiteral) && take_literal(byte);
        case Kind::kFramed: return to(Step::kLiteral) && take_framed(byte);
        case Kind::kOneOf: break;
    }
    return false;
}

bool JsonState::take_object(unsigned char byte) {
    switch (top().step) {
        case Step::kOpen:
        case Step::kNextKey:
            if (byte == '}' && top().step == Step::kOpen) return close();
            if (byte != '"') return false;
            to(Step::kColon);
            return open(JsonGrammar::kText, Step::kText);
        case Step::kColon:
            if (byte != ':') return false;
            to(Step::kAfterValue);
            return open(JsonGrammar::kAny);
        case Step::kAfterValue:
            if (byte == '}') return close();
            return byte == ',' && to(Step::kNextKey);
        default: return false;
    }
}

// `count`: members that were passed, written or left out.
bool JsonState::take_record(unsigned char byte) {
    Frame& frame = top();
    const Shape& shape = grammar_->shape(frame.shape);
    if (frame.step == Step::kOpen || frame.step == Step::kNextKey) {
        if (byte == '}') return frame.step == Step::kOpen && shape.may_close(0) && close();
        frame.step = Step::kKey;
        frame.at = 0;
    }
    switch (frame.step) {
        case Step::kKey:
            frame.at = shape.texts.next(frame.at, byte);
            if (frame.at < 0 ||
                !shape.texts.leads_to(frame.at, frame.count, shape.last_candidate(frame.count)))
                return false;
            if (const std::int32_t leaf = shape.texts.leaf(frame.at); leaf >= 0) {
                frame.at = leaf;
                frame.count = leaf + 1;
                frame.step = Step::kColon;
            }
            return true;
        case Step::kColon:
            if (byte != ':') return false;
            frame.step = Step::kAfterValue;
            return open(shape.children[static_cast<std::size_t>(frame.at)]);
        case Step::kAfterValue:
            if (byte == '}') return shape.may_close(frame.count) && close();
            return byte == ',' && frame.count < shape.texts.size() && to(Step::kNextKey);
        default: return false;
    }
}

bool JsonState::take_array(unsigned char byte) {
    Frame& frame = top();
    const Shape& shape = grammar_->shape(frame.shape);
    const bool has_room = shape.most < 0 || frame.count < shape.most;
    if (byte == ']') return frame.count >= shape.least && close();
    if (frame.step == Step::kAfterValue && (byte != ',' || !has_room)) return false;
    if (frame.step == Step::kOpen && !has_room) return false;
    const bool is_first = frame.step == Step::kOpen;
    // Beyond a bound nobody asks for, the count stands still.
    frame.count = std::min(frame.count + 1, 1 << 30);
    frame.step = Step::kAfterValue;
    open(shape.children.front());
    return !is_first || start(byte);
}

bool JsonState::take_text(unsigned char byte) {
    Frame& frame = top();
    switch (frame.step) {
        case Step::kText: {
            if (byte == '"') return close();
            if (byte == '\\') return to(Step::kEscape);
            if (byte < 0x80) return byte >= 0x20;
            const Utf8Tail tail = utf8_tail(byte);
            frame.count = tail.bytes;
            frame.at = tail.low << 8 | tail.high;
            return tail.bytes > 0 && to(Step::kUtf8);
        }
        case Step::kUtf8:
            if (byte < frame.at >> 8 || byte > (frame.at & 0xff)) return false;
            frame.at = 0x80bf;
            return --frame.count > 0 || to(Step::kText);
        case Step::kEscape:
            frame.count = 0;
            frame.at = kAnyUnit;
            if (byte == 'u') return to(Step::kHex);
            return std::string_view("\"\\/bfnrt").find(static_cast<char>(byte)) !=
                       std::string_view::npos &&
                   to(Step::kText);
        case Step::kHex: return take_hex(byte);
        // Half a pair of surrogates is no character: the other half must follow.
        case Step::kLowSlash: return byte == '\\' && to(Step::kLowU);
        case Step::kLowU:
            frame.count = 0;
            frame.at = kLowUnit;
            return byte == 'u' && to(Step::kHex);
        default: return false;
    }
}

// `count`: digits before this one, and 8 more behind a leading D.
bool JsonState::take_hex(unsigned char byte) {
    Frame& frame = top();
    const int value = hex_value(byte);
    if (value < 0) return false;
    const std::int32_t digit = frame.count & 7;
    if (digit == 0 && frame.at == kLowUnit && value != 0xd) return false;
    if (digit == 0 && value == 0xd) frame.count |= 8;
    if (digit == 1 && (frame.count & 8) != 0) {
        const bool is_low = value >= 0xc;
        if (is_low != (frame.at == kLowUnit)) return false;
        if (!is_low && value >= 8) frame.at = kHighUnit;
    }
    ++frame.count;
    if (digit < 3) return true;
    return to(frame.at == kHighUnit ? Step::kLowSlash : Step::kText);
}

// What comes behind a number tells that it is over.
bool JsonState::end_number_then(unsigned char byte) {
    close();
    return push(byte);
}

bool JsonState::take_number(unsigned char byte) {
    Frame& frame = top();
    const bool whole = grammar_->shape(frame.shape).whole;
    const bool is_exp = (byte == 'e' || byte == 'E') && !whole;
    const auto digits = [&](std::int32_t most) { return is_digit(byte) && ++frame.count <= most; };
    switch (frame.step) {
        case Step::kStart:
            if (byte == '-') return to(Step::kMinus);
            [[fallthrough]];
        case Step::kMinus:
            frame.count = 1;
            return is_digit(byte) && to(byte == '0' ? Step::kZero : Step::kDigits);
        case Step::kZero:
        case Step::kDigits:
            if (frame.step == Step::kDigits && is_digit(byte)) return digits(kJsonDigitsMax);
            frame.count = 0;
            if (byte == '.' && !whole) return to(Step::kPoint);
            if (is_exp) return to(Step::kExp);
            return !is_digit(byte) && end_number_then(byte);
        case Step::kPoint: return digits(kJsonDigitsMax) && to(Step::kFraction);
        case Step::kFraction:
            if (is_digit(byte)) return digits(kJsonDigitsMax);
            frame.count = 0;
            return is_exp ? to(Step::kExp) : end_number_then(byte);
        case Step::kExp:
            if (byte == '+' || byte == '-') return to(Step::kExpSign);
            [[fallthrough]];
        case Step::kExpSign: return digits(kJsonExponentDigitsMax) && to(Step::kExpDigits);
        case Step::kExpDigits:
            return is_digit(byte) ? digits(kJsonExponentDigitsMax) : end_number_then(byte);
        default: return false;
    }
}

bool JsonState::take_literal(unsigned char byte) {
    Frame& frame = top();
    const LiteralTrie& texts = grammar_->shape(frame.shape).texts;
    const std::int32_t next = texts.next(frame.at, byte);
    // 1 of the literals 1 and 12, and no 2 follows.
    if (next < 0) return texts.leaf(frame.at) >= 0 && end_number_then(byte);
    frame.at = next;
    if (texts.leaf(next) >= 0 && texts.is_last(next)) return close();
    return true;
}

bool JsonState::take_framed(unsigned char byte) {
    Frame& frame = top();
    const Shape& shape = grammar_->shape(frame.shape);
    if (frame.step == Step::kLiteral) {
        frame.at = shape.texts.next(frame.at, byte);
        if (frame.at < 0) return false;
        const std::int32_t leaf = shape.texts.leaf(frame.at);
        if (leaf < 0) return true;
        frame.at = 0;
        const std::int32_t child = shape.children[static_cast<std::size_t>(leaf)];
        if (shape.back.empty()) {  // The value's end is the end.
            top() = Frame{child, Step::kStart, 0, 0};
            return true;
        }
        frame.step = Step::kBack;
        return open(child);
    }
    if (byte != static_cast<unsigned char>(shape.back[static_cast<std::size_t>(frame.at)]))
        return false;
    if (++frame.at == static_cast<std::int32_t>(shape.back.size())) return close();
    return true;
}

bool JsonState::may_end() const {
    if (depth_ == 0) return true;
    if (depth_ > 1) return false;
    const Frame& frame = top();
    switch (frame.step) {
        case Step::kZero:
        case Step::kDigits:
        case Step::kFraction:
        case Step::kExpDigits: return true;
        case Step::kLiteral: {
            const Shape& shape = grammar_->shape(frame.shape);
            return shape.kind == Kind::kLiteral && shape.texts.leaf(frame.at) >= 0;
        }
        default: return false;
    }
}

}  // namespace hearth::engine
