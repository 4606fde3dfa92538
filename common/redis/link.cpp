// Reads and writes of a Redis link, the deadline of each exchange, and its end.
#include "common/redis/link.h"

#include "common/base/check.h"

namespace hearth {

using std::chrono::milliseconds;

Task<Result<void>> Link::connect(Tcp::endpoint endpoint, Security security, milliseconds timeout) {
    const auto self = shared_from_this();
    // A host that drops packets would hang the connect: the timer closes the socket.
    quiet_.expires_after(timeout);
    quiet_.async_wait([self](boost::system::error_code cancelled) {
        boost::system::error_code ignored;
        if (!cancelled && !self->open_) self->socket_.close(ignored);
    });
    boost::system::error_code failed;
    co_await socket_.async_connect(endpoint, asio::redirect_error(asio::use_awaitable, failed));
    Result<void> shaken;
    if (!failed && !closed_ && security.tls) shaken = co_await shake_hands(std::move(security));
    quiet_.cancel();
    if (closed_) co_return why_;
    if (!socket_.is_open())
        co_return make_error(ErrorCode::kTimeout,
                             "did not connect within " + std::to_string(timeout.count()) + " ms");
    if (failed) co_return make_error(ErrorCode::kUnavailable, failed.message());
    if (!shaken) co_return shaken.error();
    open_ = true;
    socket_.set_option(Tcp::no_delay(true), failed);
    read_some();
    co_return Result<void>();
}

Task<Result<std::vector<Reply>>> Link::exchange(std::vector<std::string> commands,
                                                milliseconds timeout) {
    CHECK(!commands.empty());  // Nothing would be answered: the next caller's reply would be taken.
    if (!open_) co_return why_;
    const auto self = shared_from_this();
    const auto waiter = std::make_shared<Waiter>(executor_);
    waiter->expected = commands.size();
    in_flight_.push_back(waiter);
    commands_in_flight_ += commands.size();
    for (const std::string& command : commands) outgoing_ += command;
    if (writing_.empty()) {
        writing_.swap(outgoing_);
        write_some();
        if (!open_) co_return why_;
    }
    waiter->timer.expires_after(timeout);
    boost::system::error_code ended;
    co_await waiter->timer.async_wait(asio::redirect_error(asio::use_awaitable, ended));
    if (waiter->done) {
        if (waiter->replies.size() == waiter->expected) co_return std::move(waiter->replies);
        co_return why_;
    }
    if (ended) co_return make_error(ErrorCode::kCancelled, "the caller has left");
    if (++missed_ == kMissedMax) quiet_.cancel();
    co_return make_error(ErrorCode::kTimeout,
                         "Redis did not answer within " + std::to_string(timeout.count()) + " ms");
}

Task<void> Link::rest(milliseconds gap) {
    if (!open_ || suspect()) co_return;
    quiet_.expires_after(gap);
    boost::system::error_code ignored;
    co_await quiet_.async_wait(asio::redirect_error(asio::use_awaitable, ignored));
}

Task<Result<void>> Link::shake_hands(Security security) {
    tls_ = std::make_unique<TlsSession>(*security.tls, socket_.native_handle(), security.host);
    while (true) {
        const TlsSession::Step step = tls_->handshake();
        if (step.next == TlsSession::Next::kDone) co_return Result<void>();
        auto kind = Tcp::socket::wait_read;
        if (step.next == TlsSession::Next::kWaitWrite)
            kind = Tcp::socket::wait_write;
        else if (step.next != TlsSession::Next::kWaitRead)
            co_return make_error(ErrorCode::kUnavailable, "TLS handshake failed: " + tls_->why());
        boost::system::error_code failed;
        co_await socket_.async_wait(kind, asio::redirect_error(asio::use_awaitable, failed));
        if (failed) co_return make_error(ErrorCode::kUnavailable, failed.message());
    }
}

void Link::wait_tls(TlsSession::Next next, void (Link::*then)()) {
    const auto self = shared_from_this();
    const auto kind =
        next == TlsSession::Next::kWaitWrite ? Tcp::socket::wait_write : Tcp::socket::wait_read;
    socket_.async_wait(kind, [self, then](boost::system::error_code failed) {
        if (failed) return self->close(make_error(ErrorCode::kUnavailable, failed.message()));
        if (self->open_) ((*self).*then)();
    });
}

void Link::write_tls() {
    while (open_ && !writing_.empty()) {
        std::array<asio::const_buffer, 4> parts;
        parts[0] = asio::buffer(writing_) + written_;
        const TlsSession::Step step = tls_->write(parts);
        if (step.next == TlsSession::Next::kDone) {
            wrote(step.bytes);
        } else if (step.next == TlsSession::Next::kWaitWrite) {
            return wait_tls(step.next, &Link::write_tls);
        } else {
            return close(make_error(ErrorCode::kUnavailable, "write failed: " + tls_->why()));
        }
    }
}

void Link::read_tls() {
    while (open_) {
        const TlsSession::Step step = tls_->read(asio::buffer(incoming_));
        if (step.next == TlsSession::Next::kWaitRead) return wait_tls(step.next, &Link::read_tls);
        if (step.next != TlsSession::Next::kDone)
            return close(make_error(ErrorCode::kUnavailable, "read failed: " + tls_->why()));
        reader_.feed({incoming_.data(), step.bytes});
        if (auto taken = take_replies(); !taken) return close(taken.error());
    }
}

void Link::wrote(std::size_t size) {
    written_ += size;
    if (written_ < writing_.size()) return;
    written_ = 0;
    writing_.clear();
    writing_.swap(outgoing_);
}

void Link::write_some() {
    if (tls_) return write_tls();
    const auto self = shared_from_this();
    socket_.async_write_some(
        asio::buffer(writing_) + written_,
        [self](boost::system::error_code failed, std::size_t size) {
            if (failed) return self->close(make_error(ErrorCode::kUnavailable, failed.message()));
            self->wrote(size);
            if (!self->writing_.empty() && self->open_) self->write_some();
        });
}

void Link::read_some() {
    if (tls_) return read_tls();
    const auto self = shared_from_this();
    socket_.async_read_some(
        asio::buffer(incoming_), [self](boost::system::error_code failed, std::size_t size) {
            if (failed) return self->close(make_error(ErrorCode::kUnavailable, failed.message()));
            self->reader_.feed({self->incoming_.data(), size});
            if (auto taken = self->take_replies(); !taken) return self->close(taken.error());
            if (self->open_) self->read_some();
        });
}

Result<void> Link::take_replies() {
    while (true) {
        auto reply = reader_.next();
        if (!reply) return reply.error();
        if (!reply->has_value()) return {};
        if (in_flight_.empty())
            return make_error(ErrorCode::kCorrupt, "Redis answered what nobody asked");
        missed_ = 0;
        --commands_in_flight_;
        const auto waiter = in_flight_.front();
        waiter->replies.push_back(std::move(**reply));
        if (waiter->replies.size() < waiter->expected) continue;
        in_flight_.pop_front();
        waiter->done = true;
        waiter->timer.cancel();
    }
}

void Link::close(const Error& why) {
    if (closed_) return;
    open_ = false;
    closed_ = true;
    why_ = why;
    boost::system::error_code ignored;
    if (tls_) tls_->detach();
    socket_.close(ignored);
    quiet_.cancel();
    commands_in_flight_ = 0;
    const auto left = std::move(in_flight_);
    in_flight_.clear();
    for (const auto& waiter : left) {
        waiter->done = true;
        waiter->timer.cancel();
    }
}

}  // namespace hearth
