// ClientConnection: writes one request and reads one answer at a time, and knows whether it is
// clean.
#include "common/net/client_connection.h"

#include <algorithm>
#include <charconv>
#include <cstring>

#include "common/base/check.h"

namespace hearth {
namespace {

using std::chrono::milliseconds;

MonotonicNs now() {
    return SystemClock::instance().now();
}

void append_number(std::string& out, std::uint64_t value, int base) {
    std::array<char, 24> digits{};
    const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), value, base);
    out.append(digits.data(), end.ptr);
}

Error closed_early(bool any_byte, const Result<std::size_t>& read) {
    // How it closed: by a reset, or by an alert of TLS that says what it disliked.
    const std::string how = read.ok() ? "" : ": " + read.error().message;
    if (any_byte) return make_error(ErrorCode::kCorrupt, "the upstream closed within a head" + how);
    return make_error(ErrorCode::kUnavailable, "the upstream closed before its answer" + how);
}

}  // namespace

void ClientConnection::begin(const std::string& host, milliseconds write_timeout) {
    stream_.forget_kept();
    stream_.reset_wrote_any();
    if (host_ != host) host_ = host;
    write_timeout_ = write_timeout;
    decoder_ = ChunkedDecoder();
    sent_head_ = sent_all_ = got_head_ = got_all_ = failed_ = false;
}

bool ClientConnection::reusable() const {
    return sent_all_ && got_all_ && !failed_ && head_.keep_alive && stream_.open() &&
           stream_.unread().empty();
}

Error ClientConnection::broken(std::string_view what) {
    failed_ = true;
    return make_error(ErrorCode::kCorrupt, std::string(what));
}

void ClientConnection::format_head(const ClientExchange::RequestOptions& options,
                                   const std::vector<HeaderField>& fields) {
    out_.clear();
    out_.put(options.method);
    out_.put(" ");
    out_.put(options.target);
    out_.put(" HTTP/1.1\r\n");
    out_.put_field("host", options.host.empty() ? std::string_view(host_) : options.host);
    for (const HeaderField& field : fields)
        if (!is_connection_field(field) && !equals_ignore_case(field.name, "host"))
            out_.put_field(field.name, field.value);
    const bool sized =
        options.method == "POST" || options.method == "PUT" || options.method == "PATCH";
    if (options.body == BodyKind::kChunked) {
        out_.put("transfer-encoding: chunked\r\n");
    } else if (options.body == BodyKind::kLength || sized) {
        out_.put("content-length: ");
        out_.put_number(body_out_left_);
        out_.put("\r\n");
    }
    out_.put("\r\n");
}

// Checks body bytes against what the head promised.
Result<void> ClientConnection::account_for(std::size_t body_bytes) {
    if (body_out_ == BodyKind::kChunked) return {};
    if (body_bytes > body_out_left_) {
        failed_ = true;
        return make_error(ErrorCode::kInvalidArgument, "more body bytes than were announced");
    }
    body_out_left_ -= body_bytes;
    sent_all_ = body_out_left_ == 0;
    return {};
}

void ClientConnection::add_body(TcpStream::WriteParts& parts, std::string_view bytes) {
    if (bytes.empty()) return;  // An empty chunk would end the body.
    parts[2] = asio::const_buffer(bytes.data(), bytes.size());
    if (body_out_ != BodyKind::kChunked) return;
    chunk_line_.clear();
    append_number(chunk_line_, bytes.size(), 16);
    chunk_line_.append("\r\n");
    parts[1] = asio::const_buffer(chunk_line_.data(), chunk_line_.size());
    parts[3] = asio::const_buffer("\r\n", 2);
}

Task<Result<void>> ClientConnection::send(TcpStream::WriteParts parts) {
    Result<void> sent;
    if (!stream_.write_now(parts, sent)) sent = co_await stream_.write(parts, write_timeout_);
    // The socket stays open: an upstream that refused the body may have said why.
    if (!sent) failed_ = true;
    co_return sent;
}

Task<Result<void>> ClientConnection::send_head(const ClientExchange::RequestOptions& options,
                                               const std::vector<HeaderField>& fields,
                                               std::string_view first_body) {
    Result<void> sent;
    if (!send_head_now(options, fields, first_body, sent)) sent = co_await write_rest();
    co_return sent;
}

Task<Result<void>> ClientConnection::write_rest() {
    Result<void> sent = co_await stream_.write(rest_, write_timeout_);
    failed_ = failed_ || !sent;
    co_return sent;
}

bool ClientConnection::send_head_now(const ClientExchange::RequestOptions& options,
                                     const std::vector<HeaderField>& fields,
                                     std::string_view first_body, Result<void>& sent) {
    CHECK_MSG(!sent_head_, "one request per exchange");
    CHECK(options.body != BodyKind::kUntilClose);
    sent_head_ = true;
    method_ = options.method;
    body_out_ = options.body;
    body_out_left_ = options.body == BodyKind::kLength ? options.content_length : 0;
    // What would end a line early comes from a bug or an attack; nothing of it is sent.
    bool clean = is_field_name(options.method) && options.target.starts_with('/') &&
                 is_field_value(options.target) && options.target.find(' ') == std::string::npos &&
                 is_field_value(options.host);
    for (const HeaderField& field : fields)
        clean =
            clean && (field.checked || (is_field_name(field.name) && is_field_value(field.value)));
    if (!clean) {
        failed_ = true;
        sent = make_error(ErrorCode::kInvalidArgument, "invalid byte in a request head");
        return true;
    }
    format_head(options, fields);
    sent = account_for(first_body.size());
    if (!sent) return true;
    rest_ = {};
    rest_[0] = asio::buffer(out_.text());
    add_body(rest_, first_body);
    if (!stream_.write_now(rest_, sent)) return false;
    failed_ = failed_ || !sent;
    return true;
}

Task<Result<void>> ClientConnection::write_body(std::string_view bytes) {
    CHECK_MSG(sent_head_, "write_body() before send_head()");
    Result<void> fits = account_for(bytes.size());
    if (!fits) co_return fits;
    TcpStream::WriteParts parts;
    add_body(parts, bytes);
    Result<void> sent = co_await send(parts);
    co_return sent;
}

Task<Result<void>> ClientConnection::finish_body() {
    CHECK_MSG(sent_head_, "finish_body() before send_head()");
    if (body_out_ != BodyKind::kChunked) {
        if (body_out_left_ == 0) co_return Result<void>{};
        failed_ = true;
        co_return make_error(ErrorCode::kInvalidArgument, "fewer body bytes than were announced");
    }
    TcpStream::WriteParts parts;
    parts[0] = asio::const_buffer("0\r\n\r\n", 5);
    Result<void> sent = co_await send(parts);
    sent_all_ = sent.ok();
    co_return sent;
}

// True once head_ holds the final answer's head. Interim answers (1xx) are dropped.
Result<bool> ClientConnection::parse_head(std::size_t& looked_at) {
    const HeadLimits limits;
    while (stream_.unread().size() > looked_at) {
        const HeadOutcome outcome = parse_response_head(stream_.unread(), limits, method_, head_);
        if (outcome.progress == HeadProgress::kError)
            return broken("malformed answer: " + outcome.error.message);
        if (outcome.progress == HeadProgress::kNeedMore) {
            looked_at = stream_.unread().size();
            return false;
        }
        stream_.consume(outcome.consumed);
        if (head_.status == 101) return broken("the upstream switched protocols");
        if (head_.status >= 200) return true;
        stream_.forget_kept();
        looked_at = 0;
    }
    return false;
}

Task<Result<const ResponseHead*>> ClientConnection::read_head(milliseconds timeout) {
    const ResponseHead* head = &head_;
    if (got_head_) co_return head;
    MonotonicNs deadline = 0;
    std::size_t looked_at = 0;
    bool any_byte = false;
    while (true) {
        Result<bool> whole = parse_head(looked_at);
        if (!whole) co_return whole.error();
        if (*whole) break;
        // Most heads come whole, with the first bytes.
        milliseconds left = timeout;
        if (any_byte) left = milliseconds((deadline - now()) / kMs);
        Result<std::size_t> n = std::size_t{0};
        if (!stream_.fill_now(n, left)) {
            co_await stream_.arrival();
            n = stream_.filled();
        }
        if (!any_byte) deadline = stream_.read_was_due();
        if (n.ok() && *n > 0) {
            any_byte = true;
            continue;
        }
        failed_ = n.ok() || n.error().code != ErrorCode::kTimeout;
        const bool waited = !n.ok() && n.error().code != ErrorCode::kUnavailable;
        co_return waited ? n.error() : closed_early(any_byte, n);
    }
    stream_.keep_consumed();
    got_head_ = true;
    body_in_left_ = head_.content_length;
    got_all_ = head_.body == BodyKind::kNone;
    co_return head;
}

// The body bytes among the unread ones, moved together over their framing: one view, and downstream
// one write, per read of the socket. Empty if there are none yet.
std::string_view ClientConnection::unchunk() {
    char* const start = stream_.unread_bytes();
    std::size_t size = 0;
    while (!stream_.unread().empty() && !got_all_ && !failed_) {
        const ChunkedDecoder::Piece piece = decoder_.next(stream_.unread());
        failed_ = piece.bad;
        got_all_ = piece.done;
        if (!piece.body.empty()) std::memmove(start + size, piece.body.data(), piece.body.size());
        size += piece.body.size();
        stream_.consume(piece.consumed);
    }
    return {start, size};
}

bool ClientConnection::body_at_hand(Result<std::string_view>& body) {
    CHECK_MSG(got_head_, "a body before read_head()");
    body = std::string_view();
    while (!got_all_) {
        if (failed_) {
            body = broken("malformed or broken answer body");
            return true;
        }
        if (stream_.unread().empty()) return false;
        if (head_.body == BodyKind::kChunked) {
            body = unchunk();
            if (!body->empty()) return true;
            continue;
        }
        std::string_view bytes = stream_.unread();
        if (head_.body == BodyKind::kLength) {
            bytes = bytes.substr(
                0, static_cast<std::size_t>(std::min<std::uint64_t>(body_in_left_, bytes.size())));
            body_in_left_ -= bytes.size();
            got_all_ = body_in_left_ == 0;
        }
        stream_.consume(bytes.size());
        body = bytes;
        return true;
    }
    return true;
}

Task<Result<std::string_view>> ClientConnection::read_body_some(milliseconds timeout) {
    Result<std::string_view> body = std::string_view();
    while (!body_at_hand(body)) {
        Result<std::size_t> n = std::size_t{0};
        if (!stream_.fill_now(n, timeout)) {
            co_await stream_.arrival();
            n = stream_.filled();
        }
        if (n.ok() && *n > 0) continue;
        if (n.ok() && head_.body == BodyKind::kUntilClose) {
            got_all_ = true;
            continue;
        }
        failed_ = n.ok() || n.error().code != ErrorCode::kTimeout;
        if (!n) co_return n.error();
        co_return make_error(ErrorCode::kUnavailable, "the upstream closed within a body");
    }
    co_return body;
}

Task<Result<std::size_t>> ClientConnection::read_body_into(asio::mutable_buffer buffer,
                                                           milliseconds timeout) {
    CHECK_MSG(got_head_ && buffer.size() > 0, "a body before read_head(), or no room for it");
    if (got_all_) co_return std::size_t{0};
    if (head_.body != BodyKind::kLength)
        co_return make_error(ErrorCode::kUnsupported, "the answer does not tell its length");
    const auto want =
        static_cast<std::size_t>(std::min<std::uint64_t>(body_in_left_, buffer.size()));
    const std::string_view unread = stream_.unread();
    Result<std::size_t> n = std::min(want, unread.size());
    if (*n > 0) {
        std::memcpy(buffer.data(), unread.data(), *n);
        stream_.consume(*n);
    } else {
        n = co_await stream_.read_some(asio::buffer(buffer, want), timeout);
        failed_ = n.ok() ? *n == 0 : n.error().code != ErrorCode::kTimeout;
        if (n.ok() && *n == 0)
            n = make_error(ErrorCode::kUnavailable, "the upstream closed within a body");
        if (!n) co_return n.error();
    }
    body_in_left_ -= *n;
    got_all_ = body_in_left_ == 0;
    co_return n;
}

}  // namespace hearth
