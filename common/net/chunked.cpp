// ChunkedDecoder: the strict reader of chunked transfer coding (RFC 9112 section 7.1).
#include <algorithm>
#include <cstring>

#include "common/net/http_head.h"

namespace hearth {
namespace {

constexpr std::size_t kExtraBytesMax = 8 * 1024;
constexpr std::size_t kSizeDigitsMax = 15;  // Cannot overflow 64 bits.

int hex_value(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

// Reads one token; empty if there is none.
std::string_view take_token(std::string_view& rest) {
    std::size_t n = 0;
    while (n < rest.size() && is_field_name(rest.substr(n, 1))) ++n;
    const std::string_view token = rest.substr(0, n);
    rest.remove_prefix(n);
    return token;
}

// Reads a quoted string; false if it is not closed.
bool take_quoted(std::string_view& rest) {
    rest.remove_prefix(1);
    while (!rest.empty() && rest.front() != '"') {
        if (rest.front() == '\\') rest.remove_prefix(1);
        if (!rest.empty()) rest.remove_prefix(1);
    }
    if (rest.empty()) return false;
    rest.remove_prefix(1);
    return true;
}

// `*( ";" name [ "=" ( token | quoted-string ) ] )`. The optional "bad white space" of the grammar
// is refused: senders must not make it, and parsers disagree about it.
bool valid_extensions(std::string_view rest) {
    if (!is_field_value(rest)) return false;
    while (!rest.empty()) {
        if (rest.front() != ';') return false;
        rest.remove_prefix(1);
        if (take_token(rest).empty()) return false;
        if (rest.empty() || rest.front() != '=') continue;
        rest.remove_prefix(1);
        if (!rest.empty() && rest.front() == '"') {
            if (!take_quoted(rest)) return false;
        } else if (take_token(rest).empty()) {
            return false;
        }
    }
    return true;
}

bool valid_trailer(std::string_view line) {
    const std::size_t colon = line.find(':');
    return colon != std::string_view::npos && is_field_name(line.substr(0, colon)) &&
           is_field_value(line.substr(colon + 1));
}

}  // namespace

ChunkedDecoder::Line ChunkedDecoder::take_line(std::string_view& rest) {
    const void* found = rest.empty() ? nullptr : std::memchr(rest.data(), '\n', rest.size());
    const std::size_t take =
        found ? static_cast<std::size_t>(static_cast<const char*>(found) - rest.data()) + 1
              : rest.size();
    if (line_.size() + take > kExtraBytesMax) return Line::kBad;
    line_.append(rest.substr(0, take));
    rest.remove_prefix(take);
    if (!found) return Line::kPartial;
    if (line_.size() < 2 || line_[line_.size() - 2] != '\r') return Line::kBad;
    line_.resize(line_.size() - 2);
    return Line::kWhole;
}

bool ChunkedDecoder::read_size() {
    std::size_t digits = 0;
    left_ = 0;
    while (digits < line_.size() && hex_value(line_[digits]) >= 0) {
        left_ = left_ * 16 + static_cast<std::uint64_t>(hex_value(line_[digits]));
        if (++digits > kSizeDigitsMax) return false;
    }
    extra_bytes_ += line_.size() - digits;
    if (digits == 0 || extra_bytes_ > kExtraBytesMax) return false;
    return valid_extensions(std::string_view(line_).substr(digits));
}

// Moves on over framing bytes; false on a framing error.
bool ChunkedDecoder::step(std::string_view& rest) {
    switch (state_) {
        case State::kSize: {
            const Line line = take_line(rest);
            if (line == Line::kPartial) return true;
            if (line == Line::kBad || !read_size()) return false;
            line_.clear();
            state_ = left_ > 0 ? State::kBody : State::kTrailer;
            return true;
        }
        case State::kTrailer: {
            const Line line = take_line(rest);
            if (line == Line::kPartial) return true;
            if (line == Line::kBad) return false;
            if (line_.empty()) {
                state_ = State::kDone;
                return true;
            }
            extra_bytes_ += line_.size() + 2;
            if (extra_bytes_ > kExtraBytesMax || !valid_trailer(line_)) return false;
            line_.clear();
            return true;
        }
        case State::kBodyCr:
        case State::kBodyLf: {
            const bool cr = state_ == State::kBodyCr;
            if (rest.front() != (cr ? '\r' : '\n')) return false;
            rest.remove_prefix(1);
            state_ = cr ? State::kBodyLf : State::kSize;
            return true;
        }
        case State::kBad: return false;
        case State::kBody:
        case State::kDone: return true;
    }
    return false;
}

ChunkedDecoder::Piece ChunkedDecoder::next(std::string_view bytes) {
    Piece piece;
    std::string_view rest = bytes;
    while (!rest.empty() && state_ != State::kBody && state_ != State::kDone) {
        if (!step(rest)) {
            state_ = State::kBad;
            piece.bad = true;
            return piece;
        }
    }
    if (state_ == State::kBody && !rest.empty()) {
        piece.body =
            rest.substr(0, static_cast<std::size_t>(std::min<std::uint64_t>(left_, rest.size())));
        left_ -= piece.body.size();
        rest.remove_prefix(piece.body.size());
        if (left_ == 0) state_ = State::kBodyCr;
    }
    piece.consumed = bytes.size() - rest.size();
    piece.done = state_ == State::kDone;
    return piece;
}

}  // namespace hearth
