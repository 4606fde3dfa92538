// What TcpStream does when the kernel says something of its socket, and who waits for that.
#include <sys/epoll.h>

#include <utility>

#include "common/base/check.h"
#include "common/net/tcp_stream.h"

namespace hearth {

using boost::system::error_code;

// The bytes that somebody waits for are read here, before anybody goes on.
bool TcpStream::hear(std::uint32_t events) {
    constexpr std::uint32_t kEnd = EPOLLRDHUP | EPOLLHUP | EPOLLERR;
    if (events & (EPOLLIN | kEnd)) may_read_ = true;
    if (events & kEnd) peer_ended_ = true;
    if (events & (EPOLLHUP | EPOLLERR)) broken_ = true;
    if (events & (EPOLLOUT | EPOLLHUP | EPOLLERR)) may_write_ = true;
    if (writer_ && may_write_) write_due_ = true;
    if (reader_ && !read_due_) {
        if (wait_ == Wait::kFill)
            read_due_ = receive_behind(filled_, read_ec_);
        else
            read_due_ = wait_ == Wait::kReadable ? may_read_ : broken_;
    }
    if (gone_ && may_read_) watch_due_ = watch_due_ || hears_end();
    return read_due_ || write_due_ || watch_due_;
}

// One of them at a time: each may be the end of this stream.
void TcpStream::go_on() {
    if (std::exchange(watch_due_, false) && gone_) {
        if (read_due_ || write_due_) readiness_->call(*this);
        report_gone();
        return;
    }
    if (std::exchange(write_due_, false) && writer_) {
        if (read_due_) readiness_->call(*this);
        readiness_->end_wait();
        writer_.resume();
        return;
    }
    if (!std::exchange(read_due_, false) || !reader_) return;
    readiness_->end_wait();
    reader_.resume();
}

void TcpStream::drop() {
    if (writer_) return writer_.drop();
    if (reader_) return reader_.drop();
    gone_ = nullptr;
    if (tls_) tls_->detach();
    release();
    readiness_ = nullptr;
}

// One that is about to go on with what it waited for keeps that.
void TcpStream::cancel_reader() {
    if (!reader_) return;
    if (!std::exchange(read_due_, true)) read_ec_ = asio::error::operation_aborted;
    readiness_->call(*this);
}

void TcpStream::cancel_writer() {
    if (!writer_) return;
    if (!std::exchange(write_due_, true)) write_ec_ = asio::error::operation_aborted;
    readiness_->call(*this);
}

Task<error_code> TcpStream::wait_to_read(Wait what) {
    if (fd_ < 0) co_return asio::error::bad_descriptor;
    if (what == Wait::kReadable ? may_read_ : broken_) co_return error_code();
    co_await suspend_reader(what);
    co_return read_ec_;
}

Task<error_code> TcpStream::wait_to_write() {
    if (fd_ < 0) co_return asio::error::bad_descriptor;
    if (may_write_) co_return error_code();
    auto initiate = [this](auto handler) {
        write_ec_.clear();
        write_due_ = false;
        writer_.keep(std::move(handler), [this] { cancel_writer(); });
        readiness_->begin_wait();
    };
    asio::use_awaitable_t<> token;
    co_await asio::async_initiate<asio::use_awaitable_t<>, void()>(initiate, token);
    co_return write_ec_;
}

Task<void> TcpStream::suspend_reader(Wait what) {
    auto initiate = [this, what](auto handler) {
        wait_ = what;
        filled_ = 0;
        read_ec_.clear();
        read_due_ = false;
        reader_.keep(std::move(handler), [this] { cancel_reader(); });
        readiness_->begin_wait();
    };
    asio::use_awaitable_t<> token;
    return asio::async_initiate<asio::use_awaitable_t<>, void()>(initiate, token);
}

void TcpStream::watch(std::function<void()> gone) {
    CHECK_MSG(!reader_ && !gone_, "one read at a time");
    gone_ = std::move(gone);
    watch_due_ = false;
    readiness_->begin_wait();
    if (hears_end()) report_gone();
}

void TcpStream::unwatch() {
    watch_due_ = false;
    if (!gone_) return;
    gone_ = nullptr;
    readiness_->end_wait();
}

void TcpStream::report_gone() {
    const std::function<void()> gone = std::exchange(gone_, nullptr);
    watch_due_ = false;
    readiness_->end_wait();
    gone();  // May be the end of this stream.
}

// Takes what has come into the buffer. True at the end of the connection; with a full buffer only a
// reset can be told.
bool TcpStream::hears_end() {
    while (!over_ && fd_ >= 0) {
        if (!has_room()) return broken_;
        if (tls_) {  // Only OpenSSL knows what a read brings.
            may_read_ = false;
            const TlsSession::Step step = tls_->read(room());
            end_ += step.bytes;
            if (step.next == TlsSession::Next::kWaitRead) return false;
            if (step.next != TlsSession::Next::kDone) return true;
            continue;
        }
        std::size_t bytes = 0;
        error_code ignored;  // Of the end, which stays known.
        if (!receive_behind(bytes, ignored)) return false;
    }
    return true;
}

bool TcpStream::stayed_quiet() {
    if (tls_ || !gone_ || may_read_) return quiet();
    unwatch();
    return begin_ == end_ && !over_ && !peer_ended_;
}

Task<bool> TcpStream::wait_closed() {
    while (!hears_end()) {
        const Wait what = has_room() ? Wait::kReadable : Wait::kReset;
        const error_code ec = co_await wait_to_read(what);
        if (ec == asio::error::operation_aborted) {
            // A deadline or close() of our own ends the connection; only the waiter's own
            // cancellation says nothing about the peer.
            const asio::cancellation_state state = co_await asio::this_coro::cancellation_state;
            co_return state.cancelled() == asio::cancellation_type::none;
        }
        if (ec || what == Wait::kReset) break;
    }
    co_return true;
}

}  // namespace hearth
