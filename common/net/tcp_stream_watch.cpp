// TcpStream::watch(): a read without a coroutine that notices the peer's end, and how the next read
// takes it over.
#include <cstddef>
#include <cstring>
#include <new>

#include "common/base/check.h"
#include "common/net/tcp_stream.h"

namespace hearth {

using boost::system::error_code;

namespace {

// A suspended coroutine. (Asio 1.26's any_completion_handler recurses when it is moved.)
struct Suspended {
    virtual ~Suspended() = default;
    virtual void resume() = 0;  // Ends its life first: its place may be needed again.
};

template <typename Handler>
struct SuspendedIn final : Suspended {
    explicit SuspendedIn(Handler&& own) : handler(std::move(own)) {}
    void resume() override {
        Handler last = std::move(handler);
        this->~SuspendedIn();
        std::move(last)();
    }
    Handler handler;
};

}  // namespace

// What Asio's handler of a waiting coroutine takes, with some room to spare.
constexpr std::size_t kJoinBytes = 64;

// Shared by the stream and its pending operation, which may outlive it.
struct TcpStream::Watch {
    Watch() = default;
    ~Watch() {
        if (join) join->~Suspended();
    }
    Watch(const Watch&) = delete;
    Watch& operator=(const Watch&) = delete;

    TcpStream* stream = nullptr;  // Null once it is gone.
    std::function<void()> gone;   // Null: nobody watches.
    // Waits for the end of the read; null: nobody does. Lies in `join_place`.
    Suspended* join = nullptr;
    alignas(std::max_align_t) std::byte join_place[kJoinBytes];
    const char* target = nullptr;  // Where the pending read writes; null: none is.
    bool waiting[2] = {};          // A wait for an error, or for bytes without a read, is pending.
    bool over = false;             // The peer's end, or a failure of the socket.
    error_code ec;                 // Of the last read.
};

TcpStream::~TcpStream() {
    if (watch_) watch_->stream = nullptr;
}

void TcpStream::watch(std::function<void()> gone) {
    if (!watch_) {
        watch_ = std::make_shared<Watch>();
        watch_->stream = this;
    }
    watch_->gone = std::move(gone);
    arm_watch();
}

void TcpStream::unwatch() {
    if (watch_) watch_->gone = nullptr;
}

bool TcpStream::stayed_quiet() {
    if (tls_ || !watch_) return quiet();
    unwatch();
    return begin_ == end_ && watch_->target != nullptr && socket_.is_open();
}

bool TcpStream::joins_read() const {
    return watch_ && (watch_->target != nullptr || watch_->over);
}

void TcpStream::report_gone() {
    const std::function<void()> gone = std::exchange(watch_->gone, nullptr);
    if (gone) gone();
}

// An operation that an earlier watch left pending serves this one too.
void TcpStream::arm_watch() {
    if (watch_->over) return report_gone();
    if (watch_->target != nullptr) return;
    if (tls_ || !has_room()) return arm_wait();
    const asio::mutable_buffer target = room();
    watch_->target = static_cast<const char*>(target.data());
    socket_.async_read_some(asio::buffer(target),
                            [watch = watch_](const error_code& ec, std::size_t bytes) {
                                if (watch->stream) watch->stream->watched_read(ec, bytes);
                            });
}

// In TLS only OpenSSL knows what a read brings; with a full buffer only a reset can be told.
void TcpStream::arm_wait() {
    while (tls_ && has_room()) {
        const TlsSession::Step step = tls_->read(room());
        end_ += step.bytes;
        if (step.next == TlsSession::Next::kWaitRead) break;
        if (step.next != TlsSession::Next::kDone) return report_gone();
    }
    const bool readable = has_room();
    const auto kind = readable ? Tcp::socket::wait_read : Tcp::socket::wait_error;
    if (std::exchange(watch_->waiting[readable], true)) return;
    socket_.async_wait(kind, [watch = watch_, readable](const error_code& ec) {
        watch->waiting[readable] = false;
        if (!watch->stream || !watch->gone) return;
        if (ec || !readable)
            watch->stream->report_gone();
        else
            watch->stream->arm_watch();
    });
}

void TcpStream::watched_read(const error_code& ec, std::size_t bytes) {
    Watch& watch = *watch_;
    const char* const target = std::exchange(watch.target, nullptr);
    watch.ec = ec;
    // One that was cancelled says nothing of the peer.
    watch.over = ec && ec != asio::error::operation_aborted;
    if (bytes > 0) {
        // forget_kept() may have moved the end of the unread bytes since.
        char* const place = buffer_.get() + end_;
        if (place != target) std::memmove(place, target, bytes);
        end_ += bytes;
    }
    if (watch.join) {
        std::exchange(watch.join, nullptr)->resume();  // May be the end of this stream.
        return;
    }
    if (ec)
        report_gone();
    else if (watch.gone)
        arm_watch();
}

Task<Result<std::size_t>> TcpStream::join_read(std::chrono::milliseconds timeout) {
    const std::shared_ptr<Watch> watch = watch_;
    CHECK_MSG(!watch->join && !watch->gone, "one read at a time");
    const std::size_t before = end_ - begin_;
    if (watch->target != nullptr) {
        read_deadline_.set(timeout);
        auto initiate = [watch](auto handler) {
            using Join = SuspendedIn<decltype(handler)>;
            static_assert(sizeof(Join) <= kJoinBytes);
            watch->join = new (watch->join_place) Join(std::move(handler));
        };
        asio::use_awaitable_t<> token;
        co_await asio::async_initiate<asio::use_awaitable_t<>, void()>(initiate, token);
        read_deadline_.clear();
    }
    const std::size_t bytes = end_ - begin_ - before;
    if (bytes > 0 || watch->ec == asio::error::eof) co_return bytes;
    co_return failure(watch->ec, read_deadline_, "read");
}

}  // namespace hearth
