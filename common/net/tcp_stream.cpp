// TcpStream: reads, writes and waits on one socket, each with its deadline.
#include "common/net/tcp_stream.h"

#include <netinet/tcp.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

#include "common/base/check.h"

namespace hearth {

using boost::system::error_code;

namespace {

// A reader that takes less than this within a write's timeout is cut: one byte now and then must
// not keep a connection.
constexpr std::size_t kWriteProgressBytes = 16 * 1024;
// Bytes of a socket that wait for the peer's window; those under way are not counted.
constexpr int kUnsentBytesMax = 128 * 1024;

// What a connection keeps of its buffer between two exchanges; most never use more.
constexpr std::size_t kPagesKept = 8 * 1024;

// Up to this, copying the parts together costs less than having the kernel gather them.
constexpr std::size_t kGatheredBytesMax = 8 * 1024;

// Gives the whole pages between two addresses back to the system; their bytes are lost.
void drop_pages(char* begin, char* end) {
    static const auto page = static_cast<std::uintptr_t>(::sysconf(_SC_PAGESIZE));
    const std::uintptr_t first = (reinterpret_cast<std::uintptr_t>(begin) + page - 1) & ~(page - 1);
    const std::uintptr_t last = reinterpret_cast<std::uintptr_t>(end) & ~(page - 1);
    if (first < last) ::madvise(reinterpret_cast<void*>(first), last - first, MADV_DONTNEED);
}

}  // namespace

TcpStream::TcpStream(Tcp::socket socket, const std::shared_ptr<Deadlines>& deadlines)
    : socket_(std::move(socket)),
      read_deadline_(deadlines, [this] { cancel(); }),
      write_deadline_(deadlines, [this] { cancel(); }),
      buffer_(std::make_unique_for_overwrite<char[]>(kStreamBufferBytes)) {}

Error TcpStream::failure(const error_code& ec, const Deadline& deadline,
                         std::string_view what) const {
    if (ec == asio::error::operation_aborted || ec == asio::error::bad_descriptor) {
        if (deadline.expired())
            return make_error(ErrorCode::kTimeout, std::string(what) + " timed out");
        return make_error(ErrorCode::kCancelled, std::string(what) + " was cancelled");
    }
    // Our own lack says nothing of the peer.
    const bool lack = ec == asio::error::no_descriptors || ec == asio::error::no_buffer_space ||
                      ec == boost::system::errc::too_many_files_open_in_system;
    return make_error(lack ? ErrorCode::kExhausted : ErrorCode::kUnavailable,
                      std::string(what) + " failed: " +
                          (tls_ && !tls_->why().empty() ? tls_->why() : ec.message()));
}

Task<Result<void>> TcpStream::connect(const Tcp::endpoint& endpoint,
                                      std::chrono::milliseconds timeout) {
    error_code ec;
    write_deadline_.set(timeout);
    co_await socket_.async_connect(endpoint, asio::redirect_error(asio::use_awaitable, ec));
    write_deadline_.clear();
    if (ec) co_return failure(ec, write_deadline_, "connect");
    prepare();
    co_return Result<void>{};
}

void TcpStream::prepare() {
    error_code ignored;  // A peer that has gone already shows at the first read.
    socket_.set_option(Tcp::no_delay(true), ignored);
    // A peer that does not read must not fill megabytes of the kernel's memory, nor hide behind
    // them.
    const int unsent_max = kUnsentBytesMax;
    ::setsockopt(socket_.native_handle(), IPPROTO_TCP, TCP_NOTSENT_LOWAT, &unsent_max,
                 sizeof unsent_max);
    socket_.non_blocking(true, ignored);
}

void TcpStream::end_writes() {
    if (tls_) tls_->end_writes();
    error_code ignored;
    socket_.shutdown(Tcp::socket::shutdown_send, ignored);
}

void TcpStream::close() {
    if (tls_) {
        tls_->end_writes();
        tls_->detach();
    }
    error_code ignored;
    socket_.close(ignored);
}

void TcpStream::cut() {
    if (tls_) tls_->detach();
    error_code ignored;
    socket_.set_option(asio::socket_base::linger(true, 0), ignored);
    socket_.close(ignored);
}

void TcpStream::cancel() {
    error_code ignored;
    socket_.cancel(ignored);
}

void TcpStream::forget_kept() {
    std::memmove(buffer_.get(), buffer_.get() + begin_, end_ - begin_);
    used_ = std::max(used_, end_);
    end_ -= begin_;
    begin_ = 0;
    kept_ = 0;
    if (used_ > kPagesKept && end_ < kPagesKept / 2 && !joins_read()) {
        drop_pages(buffer_.get() + kPagesKept, buffer_.get() + kStreamBufferBytes);
        used_ = end_;
    }
}

asio::mutable_buffer TcpStream::room() {
    used_ = std::max(used_, end_);
    if (begin_ == end_) begin_ = end_ = kept_;
    return {buffer_.get() + end_, kStreamBufferBytes - end_};
}

Task<Result<std::size_t>> TcpStream::fill(std::chrono::milliseconds timeout) {
    CHECK(has_room());
    if (tls_) return fill_tls(timeout);
    if (joins_read()) return join_read(timeout);
    return fill_plain(timeout);
}

Task<Result<std::size_t>> TcpStream::fill_tls(std::chrono::milliseconds timeout) {
    Result<std::size_t> read = co_await read_tls(room(), timeout);
    if (read.ok()) end_ += *read;
    co_return read;
}

Task<Result<std::size_t>> TcpStream::fill_plain(std::chrono::milliseconds timeout) {
    const asio::mutable_buffer target = room();
    error_code ec;
    read_deadline_.set(timeout);
    const std::size_t n =
        co_await socket_.async_read_some(target, asio::redirect_error(asio::use_awaitable, ec));
    read_deadline_.clear();
    if (ec == asio::error::eof) co_return std::size_t{0};
    if (ec) co_return failure(ec, read_deadline_, "read");
    end_ += n;
    co_return n;
}

Task<Result<std::size_t>> TcpStream::read_some(asio::mutable_buffer target,
                                               std::chrono::milliseconds timeout) {
    CHECK(begin_ == end_);
    if (tls_) co_return co_await read_tls(target, timeout);
    if (joins_read()) {
        Result<std::size_t> n = co_await join_read(timeout);
        if (!n) co_return n;
        const std::size_t take = std::min(*n, target.size());
        std::memcpy(target.data(), unread().data(), take);
        consume(take);
        co_return take;
    }
    error_code ec;
    read_deadline_.set(timeout);
    const std::size_t n =
        co_await socket_.async_read_some(target, asio::redirect_error(asio::use_awaitable, ec));
    read_deadline_.clear();
    if (ec == asio::error::eof) co_return std::size_t{0};
    if (ec) co_return failure(ec, read_deadline_, "read");
    co_return n;
}

Task<Result<void>> TcpStream::write(WriteParts parts, std::chrono::milliseconds timeout) {
    std::size_t left = asio::buffer_size(parts);
    std::size_t renew_at = left;  // With this much left the reader has earned a new deadline.
    bool waited = false;
    error_code ec;
    while (left > 0) {
        std::size_t n = 0;
        if (tls_)
            n = write_tls(parts, ec);
        else
            n = socket_.write_some(parts, ec);
        if (ec == asio::error::would_block) {
            if (left <= renew_at) {
                write_deadline_.set(timeout);
                renew_at = left - std::min(left, kWriteProgressBytes);
            } else if (write_deadline_.expired()) {
                co_return make_error(ErrorCode::kTimeout, "write timed out");
            }
            waited = true;
            co_await socket_.async_wait(Tcp::socket::wait_write,
                                        asio::redirect_error(asio::use_awaitable, ec));
            n = 0;
        }
        if (ec) {
            write_deadline_.clear();
            co_return failure(ec, write_deadline_, "write");
        }
        wrote_any_ = wrote_any_ || n > 0;
        left -= n;
        for (asio::const_buffer& part : parts) {
            const std::size_t step = std::min(n, part.size());
            part += step;
            n -= step;
        }
    }
    if (waited) write_deadline_.clear();
    co_return Result<void>{};
}

bool TcpStream::write_now(WriteParts& parts, Result<void>& sent) {
    if (tls_) return false;
    error_code ec;
    const std::size_t size = asio::buffer_size(parts);
    std::size_t n = 0;
    if (size <= kGatheredBytesMax) {
        thread_local std::array<char, kGatheredBytesMax> whole;
        asio::buffer_copy(asio::buffer(whole), parts);
        n = socket_.write_some(asio::const_buffer(whole.data(), size), ec);
    } else {
        n = socket_.write_some(parts, ec);
    }
    if (ec == asio::error::would_block) return false;
    if (ec) {
        sent = failure(ec, write_deadline_, "write");
        return true;
    }
    wrote_any_ = wrote_any_ || n > 0;
    if (n == size) return true;
    for (asio::const_buffer& part : parts) {
        const std::size_t step = std::min(n, part.size());
        part += step;
        n -= step;
    }
    return false;
}

bool TcpStream::quiet() {
    if (begin_ != end_) return false;
    if (tls_) return quiet_tls();
    char byte = 0;
    error_code ec;
    socket_.receive(asio::buffer(&byte, 1), Tcp::socket::message_peek, ec);
    return ec == asio::error::would_block;
}

Task<bool> TcpStream::wait_closed() {
    if (tls_) co_return co_await wait_closed_tls();
    error_code ec;
    while (true) {
        const bool readable = has_room();
        const auto kind = readable ? Tcp::socket::wait_read : Tcp::socket::wait_error;
        co_await socket_.async_wait(kind, asio::redirect_error(asio::use_awaitable, ec));
        if (ec == asio::error::operation_aborted) {
            // A deadline or close() of our own ends the connection; only the waiter's own
            // cancellation says nothing about the peer.
            const asio::cancellation_state state = co_await asio::this_coro::cancellation_state;
            co_return state.cancelled() == asio::cancellation_type::none;
        }
        if (ec) co_return true;
        if (!readable) co_return true;  // Woken by an error of the socket.
        const asio::mutable_buffer target = room();
        const std::size_t n = socket_.read_some(asio::buffer(target), ec);
        if (ec == asio::error::would_block) continue;
        if (ec) co_return true;
        end_ += n;
    }
}

}  // namespace hearth
