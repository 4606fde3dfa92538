// TcpStream: reads, writes and waits on one socket, each with its deadline.
#include "common/net/tcp_stream.h"

#include <netinet/tcp.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
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

Readiness& readiness_of(Tcp::socket& socket) {
    auto& context = asio::query(socket.get_executor(), asio::execution::context);
    return asio::use_service<Readiness>(static_cast<asio::io_context&>(context));
}

bool would_block() {
    return errno == EAGAIN || errno == EWOULDBLOCK;
}

}  // namespace

TcpStream::TcpStream(Tcp::socket socket, const std::shared_ptr<Deadlines>& deadlines)
    : socket_(std::move(socket)),
      readiness_(&readiness_of(socket_)),
      read_deadline_(deadlines, [this] { cancel(); }),
      write_deadline_(deadlines, [this] { cancel(); }),
      buffer_(std::make_unique_for_overwrite<char[]>(kStreamBufferBytes)) {}

TcpStream::~TcpStream() {
    if (readiness_ == nullptr) return;  // The loop has ended.
    unwatch();
    if (tls_) tls_->detach();
    if (reader_) readiness_->end_wait();
    if (writer_) readiness_->end_wait();
    release();
    readiness_->remove(-1, *this);
}

std::string TcpStream::peer_address() const {
    Tcp::endpoint peer;
    auto size = static_cast<socklen_t>(peer.capacity());
    if (::getpeername(fd_, peer.data(), &size) != 0) return {};
    return peer.address().to_string();
}

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
    if (fd_ >= 0) return;
    error_code ignored;  // A peer that has gone already shows at the first read.
    socket_.set_option(Tcp::no_delay(true), ignored);
    // A peer that does not read must not fill megabytes of the kernel's memory, nor hide behind
    // them.
    const int unsent_max = kUnsentBytesMax;
    ::setsockopt(socket_.native_handle(), IPPROTO_TCP, TCP_NOTSENT_LOWAT, &unsent_max,
                 sizeof unsent_max);
    socket_.non_blocking(true, ignored);
    fd_ = socket_.release(ignored);
    if (fd_ >= 0 && !readiness_->add(fd_, *this)) close();
}

// Closes what is ours.
void TcpStream::release() {
    if (fd_ < 0) return;
    readiness_->remove(fd_, *this);
    ::close(std::exchange(fd_, -1));
}

void TcpStream::end_writes() {
    if (tls_) tls_->end_writes();
    ::shutdown(fd_, SHUT_WR);
}

void TcpStream::close() {
    if (tls_) {
        tls_->end_writes();
        tls_->detach();
    }
    error_code ignored;
    socket_.close(ignored);
    release();
    cancel();
}

void TcpStream::cut() {
    if (tls_) tls_->detach();
    const linger at_once{1, 0};
    if (fd_ >= 0) ::setsockopt(fd_, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    error_code ignored;
    socket_.close(ignored);
    release();
    cancel();
}

void TcpStream::cancel() {
    error_code ignored;
    if (socket_.is_open()) socket_.cancel(ignored);
    cancel_reader();
    cancel_writer();
    if (!gone_) return;
    watch_due_ = true;
    readiness_->call(*this);
}

void TcpStream::forget_kept() {
    std::memmove(buffer_.get(), buffer_.get() + begin_, end_ - begin_);
    used_ = std::max(used_, end_);
    end_ -= begin_;
    begin_ = 0;
    kept_ = 0;
    if (used_ > kPagesKept && end_ < kPagesKept / 2) {
        drop_pages(buffer_.get() + kPagesKept, buffer_.get() + kStreamBufferBytes);
        used_ = end_;
    }
}

asio::mutable_buffer TcpStream::room() {
    used_ = std::max(used_, end_);
    if (begin_ == end_) begin_ = end_ = kept_;
    return {buffer_.get() + end_, kStreamBufferBytes - end_};
}

// One system call at most. A read that brings less than it has room for has taken all there was,
// unless the end is behind it: more is told by the next event.
bool TcpStream::receive(asio::mutable_buffer target, std::size_t& bytes, error_code& ec) {
    bytes = 0;
    ec.clear();
    if (over_ || fd_ < 0) {
        ec = over_ ? over_ec_ : error_code(asio::error::bad_descriptor);
        return true;
    }
    if (!may_read_) return false;
    ssize_t n = 0;
    do {
        n = ::recv(fd_, target.data(), target.size(), MSG_DONTWAIT);
    } while (n < 0 && errno == EINTR);
    if (n > 0) {
        bytes = static_cast<std::size_t>(n);
        may_read_ = peer_ended_ || bytes == target.size();
        return true;
    }
    if (n < 0 && would_block()) {
        may_read_ = false;
        return false;
    }
    over_ = true;
    over_ec_ = asio::error::eof;
    if (n < 0) over_ec_ = error_code(errno, boost::system::system_category());
    ec = over_ec_;
    return true;
}

bool TcpStream::receive_behind(std::size_t& bytes, error_code& ec) {
    const asio::mutable_buffer target = room();
    const bool known = receive(target, bytes, ec);
    end_ += bytes;
    return known;
}

Task<Result<std::size_t>> TcpStream::fill(std::chrono::milliseconds timeout) {
    Result<std::size_t> read = std::size_t{0};
    if (fill_now(read, timeout)) co_return read;
    co_await arrival();
    co_return filled();
}

bool TcpStream::fill_now(Result<std::size_t>& read, std::chrono::milliseconds timeout) {
    CHECK(has_room());
    CHECK_MSG(!reader_ && !gone_, "one read at a time");
    if (tls_) {
        fill_timeout_ = timeout;
        return false;
    }
    filled_ = 0;
    if (!receive_behind(filled_, read_ec_)) {
        read_deadline_.set(timeout);
        return false;
    }
    read = filled();
    return true;
}

Task<void> TcpStream::arrive_tls() {
    filled_tls_ = co_await read_tls(room(), fill_timeout_);
    if (filled_tls_.ok()) end_ += *filled_tls_;
}

Result<std::size_t> TcpStream::filled() {
    if (tls_) return filled_tls_;
    read_deadline_.clear();
    if (!read_ec_) return filled_;
    if (read_ec_ == asio::error::eof) return std::size_t{0};
    return failure(read_ec_, read_deadline_, "read");
}

Task<Result<std::size_t>> TcpStream::read_some(asio::mutable_buffer target,
                                               std::chrono::milliseconds timeout) {
    CHECK(begin_ == end_);
    if (tls_) co_return co_await read_tls(target, timeout);
    std::size_t n = 0;
    error_code ec;
    while (!receive(target, n, ec)) {
        read_deadline_.set(timeout);
        ec = co_await wait_to_read(Wait::kReadable);
        read_deadline_.clear();
        if (ec) break;
    }
    if (ec == asio::error::eof) co_return std::size_t{0};
    if (ec) co_return failure(ec, read_deadline_, "read");
    co_return n;
}

// Once; would_block if the socket takes nothing.
std::size_t TcpStream::send(const asio::const_buffer* parts, std::size_t count, error_code& ec) {
    ec.clear();
    if (fd_ < 0) {
        ec = asio::error::bad_descriptor;
        return 0;
    }
    WriteParts::size_type used = 0;
    std::array<iovec, std::tuple_size_v<WriteParts>> pieces;
    for (std::size_t i = 0; i < count; ++i)
        if (parts[i].size() > 0)
            pieces[used++] = {const_cast<void*>(parts[i].data()), parts[i].size()};
    if (used == 0) return 0;
    msghdr message{};
    message.msg_iov = pieces.data();
    message.msg_iovlen = used;
    constexpr int kFlags = MSG_NOSIGNAL | MSG_DONTWAIT;
    may_write_ = false;
    ssize_t n = 0;
    do {
        n = used == 1 ? ::send(fd_, pieces[0].iov_base, pieces[0].iov_len, kFlags)
                      : ::sendmsg(fd_, &message, kFlags);
    } while (n < 0 && errno == EINTR);
    if (n >= 0) return static_cast<std::size_t>(n);
    ec = error_code(errno, boost::system::system_category());
    if (would_block()) ec = asio::error::would_block;
    return 0;
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
            n = send(parts.data(), parts.size(), ec);
        if (ec == asio::error::would_block) {
            if (left <= renew_at) {
                write_deadline_.set(timeout);
                renew_at = left - std::min(left, kWriteProgressBytes);
            } else if (write_deadline_.expired()) {
                co_return make_error(ErrorCode::kTimeout, "write timed out");
            }
            waited = true;
            ec = co_await wait_to_write();
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
        const asio::const_buffer gathered(whole.data(), size);
        n = send(&gathered, 1, ec);
    } else {
        n = send(parts.data(), parts.size(), ec);
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
    return ::recv(fd_, &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0 && would_block();
}

}  // namespace hearth
