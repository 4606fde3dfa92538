// TcpStream over TLS: OpenSSL does a step, and we wait for the socket when it asks for that.
#include "common/net/tcp_stream.h"

namespace hearth {

using boost::system::error_code;
using Next = TlsSession::Next;

namespace {

// A peer that sends faster than we read would otherwise keep the loop from everybody else.
constexpr int kReadsInARowMax = 16;

}  // namespace

// OpenSSL has tried, so only what the kernel says from now on counts.
Task<error_code> TcpStream::wait_for(Next next) {
    if (next == Next::kWaitWrite) {
        may_write_ = false;
        return wait_to_write();
    }
    may_read_ = false;
    return wait_to_read(Wait::kReadable);
}

Error TcpStream::tls_failure(std::string_view what) const {
    if (!open()) return make_error(ErrorCode::kCancelled, std::string(what) + " was cancelled");
    return make_error(ErrorCode::kUnavailable, std::string(what) + " failed: " + tls_->why());
}

Task<Result<void>> TcpStream::start_tls(std::unique_ptr<TlsSession> session,
                                        std::chrono::milliseconds timeout) {
    tls_ = std::move(session);
    read_deadline_.set(timeout);
    while (true) {
        const TlsSession::Step step = tls_->handshake();
        if (step.next == Next::kDone) break;
        if (step.next == Next::kEnd || step.next == Next::kFailed) {
            read_deadline_.clear();
            co_return tls_failure("TLS handshake");
        }
        const error_code ec = co_await wait_for(step.next);
        if (ec) {
            read_deadline_.clear();
            co_return failure(ec, read_deadline_, "TLS handshake");
        }
    }
    read_deadline_.clear();
    co_return Result<void>{};
}

Task<Result<std::size_t>> TcpStream::read_tls(asio::mutable_buffer target,
                                              std::chrono::milliseconds timeout) {
    if (++reads_in_a_row_ > kReadsInARowMax) {
        reads_in_a_row_ = 0;
        co_await asio::post(asio::use_awaitable);
    }
    while (true) {
        const TlsSession::Step step = tls_->read(target);
        if (step.next == Next::kDone) co_return step.bytes;
        if (step.next == Next::kEnd) co_return std::size_t{0};
        if (step.next == Next::kFailed) co_return tls_failure("read");
        reads_in_a_row_ = 0;
        read_deadline_.set(timeout);
        const error_code ec = co_await wait_for(step.next);
        read_deadline_.clear();
        if (ec) co_return failure(ec, read_deadline_, "read");
    }
}

// As Socket::write_some: what would block is called again with the same bytes.
std::size_t TcpStream::write_tls(const WriteParts& parts, error_code& ec) {
    const std::uint64_t before = tls_->bytes_sent();
    const TlsSession::Step step = tls_->write(parts);
    wrote_any_ = wrote_any_ || tls_->bytes_sent() != before;
    ec.clear();
    may_write_ = false;  // OpenSSL has tried.
    if (!open())
        ec = asio::error::operation_aborted;
    else if (step.next == Next::kWaitWrite)
        ec = asio::error::would_block;
    else if (step.next != Next::kDone)
        ec = asio::error::connection_reset;
    return step.bytes;
}

// Reads for real, since session tickets and key updates arrive between exchanges and mean nothing.
bool TcpStream::quiet_tls() {
    const TlsSession::Step step = tls_->read(room());
    end_ += step.bytes;
    return step.next == Next::kWaitRead;
}

}  // namespace hearth
