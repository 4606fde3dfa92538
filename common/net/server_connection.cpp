// ServerConnection: the loop of one connection: head in, handler, answer out, and how it closes.
#include "common/net/server_connection.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>
#include <exception>

#include "common/base/check.h"
#include "common/base/log.h"

namespace hearth {
namespace {

using std::chrono::milliseconds;

// What a client may still send of a body that nobody wanted before the connection is closed
// instead.
constexpr std::uint64_t kSkipBytesMax = 256 * 1024;
constexpr std::size_t kSkipStepBytes = 16 * 1024;
// How long, and how much, a closing connection reads on so that the client gets the answer before
// a reset destroys it (RFC 9112 section 9.6).
constexpr milliseconds kLingerMs{2'000};
constexpr std::size_t kLingerBytesMax = 16 * 1024 * 1024;
// How long a draining server waits for the first byte of a connection that was just made: whoever
// connected before the listener closed is served.
constexpr milliseconds kFreshMs{2'000};
constexpr MonotonicNs kLogHandshakeEvery = kSecond;

MonotonicNs now() {
    return SystemClock::instance().now();
}

milliseconds until(MonotonicNs at) {
    return milliseconds(std::max<MonotonicNs>((at - now() + kMs - 1) / kMs, 0));
}

// A value that a caller took from elsewhere must not end the header line it is put into.
void put_field(HeadText& out, const HeaderField& field) {
    char* const value = out.put_field(field.name, field.value);
    if (field.checked) return;
    CHECK_MSG(is_field_name(field.name), field.name);
    if (is_field_value(field.value)) return;
    for (std::size_t i = 0; i < field.value.size(); ++i)
        if (!is_field_value(field.value.substr(i, 1))) value[i] = ' ';
}

HeaderField field_of(const HeaderField& field) {
    return field;
}
HeaderField field_of(const std::pair<std::string, std::string>& field) {
    return {field.first, field.second};
}

void append_number(std::string& out, std::uint64_t value, int base = 10) {
    std::array<char, 24> digits{};
    const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), value, base);
    out.append(digits.data(), end.ptr);
}

}  // namespace

std::string_view ServerContext::date() {
    const auto second = static_cast<std::time_t>(SystemClock::instance().coarse_unix_now() / 1000);
    if (second != date_second_) {
        date_second_ = second;
        std::tm parts{};
        gmtime_r(&second, &parts);
        std::array<char, 40> text{};
        const std::size_t size =
            std::strftime(text.data(), text.size(), "%a, %d %b %Y %H:%M:%S GMT", &parts);
        date_.assign(text.data(), size);
    }
    return date_;
}

void ServerContext::log_failed_handshake(const std::string& remote, const Error& error) {
    if (now() - handshake_logged_ < kLogHandshakeEvery) {
        ++handshakes_unlogged_;
        return;
    }
    log::warn(
        "TLS handshake failed",
        {{"client", remote}, {"error", error.message}, {"more_before", handshakes_unlogged_}});
    handshake_logged_ = now();
    handshakes_unlogged_ = 0;
}

ServerConnection::ServerConnection(ServerContext& context, Tcp::socket socket)
    : context_(context), stream_(std::move(socket), context.deadlines) {
    stream_.prepare();
}

std::string ServerConnection::remote_address() const {
    return stream_.peer_address();
}

void ServerConnection::close_if_idle() {
    if (idle_ && !fresh_) stream_.close();
}

void ServerConnection::close_if_silent() {
    if (idle_) stream_.close();
}

void ServerConnection::cut() {
    if (answer_ == Answer::kStream) return abort();
    stream_.close();
}

MonotonicNs ServerConnection::waiting_since() const {
    const ServerLimits& limits = context_.limits;
    return stream_.read_due() - (idle_ ? limits.idle_timeout : limits.head_timeout).count() * kMs;
}

Task<bool> ServerConnection::shake_hands() {
    const std::string remote = remote_address();
    auto session = std::make_unique<TlsSession>(*context_.tls, stream_.native_handle());
    in_head_ = true;  // Nothing was promised yet.
    Result<void> done =
        co_await stream_.start_tls(std::move(session), context_.limits.head_timeout);
    in_head_ = false;
    if (done) co_return true;
    if (stream_.open()) context_.log_failed_handshake(remote, done.error());
    if (stream_.met_plain_http()) {
        stream_.drop_tls();
        const HeadError error{400, "this port speaks HTTPS: begin the URL with https://"};
        co_await refuse(error);
        co_await linger();
    }
    stream_.close();
    co_return false;
}

// One coroutine from a request's first byte to its handler: each more would cost all requests.
Task<void> ServerConnection::serve() {
    if (context_.tls) {
        const bool shaken = co_await shake_hands();
        if (!shaken) co_return;
    }
    while (true) {
        HeadReading reading;
        stream_.forget_kept();
        while (!parse_more(reading)) {
            Result<std::size_t> read = std::size_t{0};
            if (!begin_read(reading, read)) {
                co_await stream_.arrival();
                read = stream_.filled();
            }
            if (!end_read(reading, read)) break;
        }
        if (reading.outcome.progress != HeadProgress::kDone) {
            if (reading.outcome.progress == HeadProgress::kError)
                co_await refuse(reading.outcome.error);
            break;
        }
        begin_exchange();
        bool failed = false;
        try {
            co_await context_.handler(*this);
        } catch (const std::exception& e) {
            // A handler that was cut by drain() or the destructor ends here too; that is no
            // failure.
            failed = stream_.open();
            if (failed) log::error("request handler failed", {{"error", e.what()}});
        }
        if (answer_ == Answer::kNone && stream_.open()) co_await answer_for_handler(failed);
        if (answer_ == Answer::kStream) abort();  // Half an answer must not look like a whole one.
        stream_.unwatch();
        // A body that nobody wanted is in the way of the next request.
        if (answer_ == Answer::kComplete && !close_after_ && !body_done_ && stream_.open()) {
            const bool skipped = co_await skip_body();
            close_after_ = !skipped;
        }
        if (!may_follow()) break;
    }
    if (linger_) co_await linger();
    stream_.close();
}

// True once `outcome` says what the bytes at hand are. A head that drips in is parsed anew for each
// line, not for each byte.
bool ServerConnection::parse_more(HeadReading& reading) {
    const std::string_view bytes = stream_.unread();
    HeadOutcome& outcome = reading.outcome;
    const std::size_t looked_at = std::exchange(reading.looked_at, bytes.size());
    const bool more = bytes.size() > looked_at &&
                      (looked_at == 0 || bytes.find('\n', looked_at) != std::string_view::npos ||
                       bytes.size() >= context_.limits.head.head_bytes_max);
    if (!more) return false;
    outcome = parse_request_head(bytes, context_.limits.head, head_);
    if (outcome.progress != HeadProgress::kDone) return outcome.progress == HeadProgress::kError;
    stream_.consume(outcome.consumed);
    stream_.keep_consumed();
    return true;
}

// How long to wait for the next bytes of a head; sets idle_.
milliseconds ServerConnection::head_wait(MonotonicNs& head_deadline) {
    idle_ = stream_.unread().empty();
    if (idle_)
        return context_.draining ? std::min(context_.limits.idle_timeout, kFreshMs)
                                 : context_.limits.idle_timeout;
    if (head_deadline == 0) head_deadline = now() + context_.limits.head_timeout.count() * kMs;
    return until(head_deadline);
}

// True if `read` says how the read ended; false if it waits for the client.
bool ServerConnection::begin_read(HeadReading& reading, Result<std::size_t>& read) {
    const milliseconds timeout = head_wait(reading.deadline);
    if (idle_ && !fresh_ && context_.draining) return true;  // As at the client's end.
    in_head_ = true;
    return stream_.fill_now(read, timeout);
}

// False when there will be no head; `reading` has the refusal of a client that sent half of one.
bool ServerConnection::end_read(HeadReading& reading, const Result<std::size_t>& read) {
    const bool was_idle = std::exchange(idle_, false);
    in_head_ = false;
    if (read.ok()) return *read > 0;
    if (!was_idle && read.error().code == ErrorCode::kTimeout)
        reading.outcome = {
            HeadProgress::kError, 0, {408, "the request head did not arrive in time"}};
    return false;
}

void ServerConnection::begin_exchange() {
    fresh_ = false;
    decoder_ = ChunkedDecoder();
    body_left_ = head_.content_length;
    body_done_ = head_.body == BodyKind::kNone;
    continue_owed_ = head_.expect_continue;
    answer_ = Answer::kNone;
    close_after_ = !head_.keep_alive;
    no_body_out_ = false;
    body_waited_ = 0;
    body_arrived_ = 0;
    out_.clear();
}

Task<void> ServerConnection::answer_for_handler(bool failed) {
    if (!failed) log::error("request handler gave no answer");
    close_after_ = true;
    HeaderList headers{{"content-type", "application/json"}};
    const std::string body = error_body("internal error", "server_error", "", "internal_error");
    Result<void> sent = co_await respond(500, std::move(headers), body);
    if (!sent) stream_.close();
}

// True if another request may follow.
bool ServerConnection::may_follow() {
    if (answer_ != Answer::kComplete || !stream_.open()) return false;
    linger_ = close_after_ && (!body_done_ || !stream_.unread().empty());
    return !close_after_;
}

Task<bool> ServerConnection::skip_body() {
    std::string scratch(kSkipStepBytes, '\0');
    std::uint64_t skipped = 0;
    while (skipped <= kSkipBytesMax) {
        Result<std::size_t> n = co_await read_body_some(asio::buffer(scratch));
        if (!n) co_return false;
        if (*n == 0) co_return true;
        skipped += *n;
    }
    co_return false;
}

Task<void> ServerConnection::refuse(const HeadError& error) {
    head_ = RequestHead{};
    begin_exchange();
    close_after_ = true;
    linger_ = true;
    HeaderList headers{{"content-type", "application/json"}};
    const std::string body = error_body(error.message, "invalid_request_error", "", "");
    Result<void> sent = co_await respond(error.status, std::move(headers), body);
    if (!sent) stream_.close();
}

Task<void> ServerConnection::linger() {
    stream_.end_writes();
    std::size_t seen = 0;
    const MonotonicNs deadline = now() + kLingerMs.count() * kMs;
    while (seen < kLingerBytesMax) {
        stream_.consume(stream_.unread().size());
        Result<std::size_t> n = co_await stream_.fill(until(deadline));
        if (!n || *n == 0) co_return;
        seen += *n;
    }
}

Task<Result<void>> ServerConnection::send_continue() {
    continue_owed_ = false;
    return stream_.write("HTTP/1.1 100 Continue\r\n\r\n", context_.limits.write_timeout);
}

Task<Result<std::size_t>> ServerConnection::read_body_some(asio::mutable_buffer buffer) {
    CHECK(buffer.size() > 0);
    if (body_done_) co_return std::size_t{0};
    if (continue_owed_ && stream_.unread().empty()) {
        Result<void> sent = co_await send_continue();
        if (!sent) co_return sent.error();
    }
    Result<std::size_t> n = std::size_t{0};
    if (head_.body == BodyKind::kChunked) {
        n = co_await read_chunked(buffer);
    } else {
        const std::size_t want =
            static_cast<std::size_t>(std::min<std::uint64_t>(body_left_, buffer.size()));
        const std::string_view unread = stream_.unread();
        if (!unread.empty()) {
            const std::size_t take = std::min(want, unread.size());
            std::memcpy(buffer.data(), unread.data(), take);
            stream_.consume(take);
            n = take;
        } else {
            n = co_await wait_for_body(asio::buffer(buffer, want));
            if (n.ok() && *n == 0)
                n = make_error(ErrorCode::kUnavailable,
                               "the client closed in the middle of the body");
        }
        if (n.ok()) body_left_ -= *n;
        body_done_ = body_left_ == 0;
    }
    if (!n.ok()) close_after_ = true;
    // Nobody is left to answer.
    if (!n.ok() && n.error().code == ErrorCode::kUnavailable) stream_.close();
    co_return n;
}

// Reads into `buffer`, or behind the unread bytes if it is empty. Only time spent waiting for the
// client counts towards its rate: it is not to blame for a slow node.
Task<Result<std::size_t>> ServerConnection::wait_for_body(asio::mutable_buffer buffer) {
    const ServerLimits& limits = context_.limits;
    const MonotonicNs window = limits.body_window.count() * kMs;
    const auto due = static_cast<std::size_t>(limits.body_window.count()) * limits.body_rate_min;
    while (true) {
        milliseconds timeout = limits.body_timeout;
        const bool windowed = due > 0 && milliseconds((window - body_waited_) / kMs + 1) < timeout;
        if (windowed) timeout = milliseconds((window - body_waited_) / kMs + 1);
        const MonotonicNs before = now();
        Result<std::size_t> n = std::size_t{0};
        if (buffer.size() > 0)
            n = co_await stream_.read_some(buffer, timeout);
        else
            n = co_await stream_.fill(timeout);
        body_waited_ += now() - before;
        if (n.ok()) body_arrived_ += *n;
        if (due > 0 && body_waited_ >= window) {
            if (body_arrived_ * 1000 < due)
                co_return make_error(ErrorCode::kTimeout, "the request body comes too slowly");
            body_waited_ = 0;
            body_arrived_ = 0;
        }
        const bool only_window = windowed && !n.ok() && n.error().code == ErrorCode::kTimeout;
        if (!only_window) co_return n;
    }
}

// One read's worth of a chunked body; 0 at the end.
Task<Result<std::size_t>> ServerConnection::read_chunked(asio::mutable_buffer buffer) {
    while (true) {
        if (stream_.unread().empty()) {
            Result<std::size_t> n = co_await wait_for_body(asio::mutable_buffer());
            if (!n) co_return n.error();
            if (*n == 0)
                co_return make_error(ErrorCode::kUnavailable,
                                     "the client closed in the middle of the body");
        }
        const ChunkedDecoder::Piece piece =
            decoder_.next(stream_.unread().substr(0, buffer.size()));
        if (piece.bad) co_return make_error(ErrorCode::kCorrupt, "malformed chunked body");
        if (!piece.body.empty()) std::memcpy(buffer.data(), piece.body.data(), piece.body.size());
        stream_.consume(piece.consumed);
        body_done_ = piece.done;
        if (piece.done || !piece.body.empty()) co_return piece.body.size();
    }
}

std::string_view ServerConnection::take_body() {
    const std::string_view unread = stream_.unread();
    // Half of the buffer stays free for what may be pipelined behind it.
    const std::size_t most = std::min(unread.size(), kStreamBufferBytes / 2);
    const bool whole = head_.body == BodyKind::kLength && !body_done_ &&
                       body_left_ == head_.content_length && body_left_ <= most;
    if (!whole) return {};
    const std::string_view body = unread.substr(0, static_cast<std::size_t>(body_left_));
    stream_.consume(body.size());
    stream_.keep_consumed();
    body_left_ = 0;
    body_done_ = true;
    return body;
}

Task<Result<std::string>> ServerConnection::read_body(std::size_t limit) {
    const auto too_large = [&] {
        close_after_ = true;
        return make_error(ErrorCode::kTooLarge,
                          "the request body is larger than " + std::to_string(limit) + " bytes");
    };
    if (head_.body == BodyKind::kLength && body_left_ > limit) co_return too_large();
    std::string body;
    std::size_t size = 0;
    while (!body_done_) {
        if (size == body.size()) {
            // Grows with what has come, not with what was announced.
            std::size_t room = std::max<std::size_t>(16 * 1024, 2 * size);
            if (head_.body == BodyKind::kLength)
                room = static_cast<std::size_t>(std::min<std::uint64_t>(room, size + body_left_));
            body.resize(std::min(room, limit + 1));
        }
        const asio::mutable_buffer target(body.data() + size, body.size() - size);
        Result<std::size_t> n = co_await read_body_some(target);
        if (!n) co_return n.error();
        size += *n;
        if (size > limit) co_return too_large();
    }
    body.resize(size);
    co_return body;
}

bool ServerConnection::body_can_be_skipped() const {
    if (body_done_) return true;
    if (continue_owed_) return false;  // It may or may not come.
    return head_.body == BodyKind::kChunked || body_left_ <= kSkipBytesMax;
}

bool ServerConnection::bodiless(int status) const {
    return status == 204 || status == 304;
}

// Writes status line and fields to out_; without a length the body is a stream. Connection and
// framing fields are ours alone.
template <typename Fields>
void ServerConnection::format_head(int status, const Fields& headers,
                                   std::optional<std::size_t> content_length) {
    CHECK_MSG(answer_ == Answer::kNone, "a request is answered once");
    CHECK(status >= 200 && status <= 599);
    const bool head_request = head_.method == "HEAD";
    no_body_out_ = head_request || bodiless(status);
    close_after_ = close_after_ || context_.draining || !body_can_be_skipped();
    out_.clear();
    out_.put("HTTP/1.1 ");
    out_.put_number(static_cast<std::uint64_t>(status));
    out_.put(" ");
    out_.put(reason_phrase(status));
    out_.put("\r\n");
    bool dated = false;
    bool sized = false;
    for (const auto& each : headers) {
        const HeaderField field = field_of(each);
        dated = dated || equals_ignore_case(field.name, "date");
        // Of an answer to HEAD only the caller can know the length.
        const bool length = head_request && equals_ignore_case(field.name, "content-length");
        sized = sized || length;
        if (length || !is_connection_field(field)) put_field(out_, field);
    }
    if (!dated) out_.put_field("date", context_.date());
    if (!bodiless(status) && !sized) {
        if (content_length) {
            out_.put("content-length: ");
            out_.put_number(*content_length);
            out_.put("\r\n");
        } else if (head_.version_minor == 1) {
            out_.put("transfer-encoding: chunked\r\n");
        }
    }
    if (close_after_)
        out_.put("connection: close\r\n");
    else if (head_.version_minor == 0)
        out_.put("connection: keep-alive\r\n");
    out_.put("\r\n");
}

Task<Result<void>> ServerConnection::respond(int status, HeaderList headers,
                                             std::string_view body) {
    format_head(status, headers, body.size());
    Result<void> sent;
    const bool over = send_answer(body, sent);
    return sent_or_rest(over, std::move(sent));
}

Task<Result<void>> ServerConnection::respond(int status, const std::vector<HeaderField>& fields,
                                             std::string_view body) {
    Result<void> sent;
    const bool over = respond_now(status, fields, body, sent);
    return sent_or_rest(over, std::move(sent));
}

bool ServerConnection::respond_now(int status, const std::vector<HeaderField>& fields,
                                   std::string_view body, Result<void>& sent) {
    format_head(status, fields, body.size());
    return send_answer(body, sent);
}

bool ServerConnection::send_answer(std::string_view body, Result<void>& sent) {
    answer_ = Answer::kComplete;
    TcpStream::WriteParts parts;
    parts[0] = asio::buffer(out_.text());
    if (!no_body_out_) parts[1] = asio::const_buffer(body.data(), body.size());
    return send_now(parts, sent);
}

bool ServerConnection::send_now(const TcpStream::WriteParts& parts, Result<void>& sent) {
    rest_ = parts;
    if (!stream_.write_now(rest_, sent)) return false;
    out_.clear();
    if (!sent) stream_.close();
    return true;
}

Task<Result<void>> ServerConnection::write_rest() {
    Result<void> sent = co_await stream_.write(rest_, context_.limits.write_timeout);
    out_.clear();
    if (!sent) stream_.close();
    co_return sent;
}

Task<Result<void>> ServerConnection::sent_or_rest(bool over, Result<void> sent) {
    if (!over) sent = co_await write_rest();
    co_return sent;
}

void ServerConnection::start_stream(int status, const std::vector<HeaderField>& fields) {
    if (head_.version_minor == 0) close_after_ = true;  // Only the close ends the body.
    format_head(status, fields, std::nullopt);
    stream_left_.reset();
    answer_ = Answer::kStream;
}

Task<Result<void>> ServerConnection::start_stream(int status, HeaderList headers,
                                                  std::optional<std::uint64_t> length) {
    std::vector<HeaderField> fields;
    for (const auto& [name, value] : headers) fields.push_back({name, value});
    if (length) {
        format_head(status, fields, *length);
        stream_left_ = length;
        answer_ = Answer::kStream;
    } else {
        start_stream(status, fields);
    }
    co_return Result<void>{};  // The head leaves with the first write.
}

Task<Result<void>> ServerConnection::write(std::string_view bytes) {
    Result<void> sent;
    const bool over = write_now(bytes, sent);
    return sent_or_rest(over, std::move(sent));
}

bool ServerConnection::write_now(std::string_view bytes, Result<void>& sent) {
    if (answer_ == Answer::kAborted) {
        sent = make_error(ErrorCode::kCancelled, "the answer was aborted");
        return true;
    }
    CHECK_MSG(answer_ == Answer::kStream, "write() outside a stream");
    TcpStream::WriteParts parts;
    parts[0] = asio::buffer(out_.text());
    if (!no_body_out_ && !bytes.empty()) {
        parts[2] = asio::const_buffer(bytes.data(), bytes.size());
        if (stream_left_) {
            CHECK_MSG(bytes.size() <= *stream_left_, "more bytes than the stream's length");
            *stream_left_ -= bytes.size();
        } else if (head_.version_minor == 1) {
            chunk_line_.clear();
            append_number(chunk_line_, bytes.size(), 16);
            chunk_line_.append("\r\n");
            parts[1] = asio::const_buffer(chunk_line_.data(), chunk_line_.size());
            parts[3] = asio::const_buffer("\r\n", 2);
        }
    }
    return send_now(parts, sent);
}

Task<Result<void>> ServerConnection::finish_stream() {
    if (answer_ == Answer::kAborted)
        co_return make_error(ErrorCode::kCancelled, "the answer was aborted");
    CHECK_MSG(answer_ == Answer::kStream, "finish_stream() outside a stream");
    CHECK_MSG(no_body_out_ || stream_left_.value_or(0) == 0, "the stream ended before its length");
    if (!no_body_out_ && !stream_left_ && head_.version_minor == 1) out_.put("0\r\n\r\n");
    Result<void> sent = co_await stream_.write(out_.text(), context_.limits.write_timeout);
    out_.clear();
    answer_ = Answer::kComplete;
    if (!sent) stream_.close();
    co_return sent;
}

void ServerConnection::abort() {
    answer_ = Answer::kAborted;
    // A missing last chunk shows that a chunked answer is broken, and what was sent still arrives.
    // So do missing bytes of a length. Without both only a reset shows it.
    if (head_.version_minor == 1 || stream_left_)
        stream_.close();
    else
        stream_.cut();
}

}  // namespace hearth
