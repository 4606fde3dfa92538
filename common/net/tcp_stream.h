// TcpStream: a connected socket with its input buffer and deadlines; under both server and client.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "common/base/result.h"
#include "common/net/asio.h"
#include "common/net/deadlines.h"
#include "common/net/readiness.h"
#include "common/net/suspended.h"
#include "common/net/tls.h"

namespace hearth {

constexpr std::size_t kStreamBufferBytes = 64 * 1024;

// Owned by one connection. One io_context; at most one read and one write at a time, which may run
// beside each other. The first bytes of the buffer can be kept (a parsed head, to which views
// point): later reads never touch or move them. After start_tls() all bytes go through TLS
// (tcp_stream_tls.cpp); without it that costs one branch a call.
class TcpStream final : private ReadySocket {
  public:
    using WriteParts = std::array<asio::const_buffer, 4>;  // Written in order by one system call.

    TcpStream(Tcp::socket socket, const std::shared_ptr<Deadlines>& deadlines);
    ~TcpStream();
    TcpStream(const TcpStream&) = delete;
    TcpStream& operator=(const TcpStream&) = delete;

    Task<Result<void>> connect(const Tcp::endpoint& endpoint, std::chrono::milliseconds timeout);
    void prepare();  // Once connected: Nagle off, never blocking; the socket is ours, not Asio's.
    // The handshake of a connected socket, as a server or (with a host) a client, in one deadline.
    // kUnavailable says what is wrong with the peer or its certificate.
    Task<Result<void>> start_tls(std::unique_ptr<TlsSession> session,
                                 std::chrono::milliseconds timeout);
    bool met_plain_http() const { return tls_ && tls_->plain_http(); }  // Instead of a handshake.
    void drop_tls() { tls_.reset(); }  // After a failed handshake: to answer in plain.
    void end_writes();                 // The peer reads our end; what it sends still arrives.
    void close();                      // Ends every operation with kCancelled. Idempotent.
    void cut();     // Closes with RST, so that the peer cannot take it for a normal end.
    void cancel();  // Ends the running operations with kCancelled; the socket stays open.
    bool open() const { return fd_ >= 0 || socket_.is_open(); }
    int native_handle() const { return fd_; }  // Once prepared; -1 when closed.
    std::string peer_address() const;          // "" when closed.

    // Bytes received and not yet consumed.
    std::string_view unread() const { return {buffer_.get() + begin_, end_ - begin_}; }
    void consume(std::size_t bytes) { begin_ += bytes; }
    char* unread_bytes() { return buffer_.get() + begin_; }
    void keep_consumed() { kept_ = begin_; }  // What was consumed so far stays where it is.
    // Moves the unread bytes to the front, and gives pages back that only large bodies needed.
    void forget_kept();

    // Reads some bytes behind the unread ones; 0 at the peer's end. Needs room.
    Task<Result<std::size_t>> fill(std::chrono::milliseconds timeout);
    // The same without a coroutine of its own, where each costs: fill_now(), and if that is false
    // `co_await arrival()` and filled(). With TLS fill_now() waits for nobody either, but arrival()
    // is fill().
    bool fill_now(Result<std::size_t>& read, std::chrono::milliseconds timeout);
    Task<void> arrival() { return tls_ ? arrive_tls() : suspend_reader(Wait::kFill); }
    Result<std::size_t> filled();
    bool has_room() const { return end_ < kStreamBufferBytes || begin_ == end_; }
    // Reads some bytes around the buffer, which must hold none; 0 at the peer's end.
    Task<Result<std::size_t>> read_some(asio::mutable_buffer target,
                                        std::chrono::milliseconds timeout);

    // Writes everything. Tries at once and suspends only if the socket is full. A failure is final.
    // kTimeout if the peer takes less than 16 KiB (or the rest) within `timeout`.
    Task<Result<void>> write(WriteParts parts, std::chrono::milliseconds timeout);
    Task<Result<void>> write(std::string_view bytes, std::chrono::milliseconds timeout) {
        return write(WriteParts{asio::const_buffer(bytes.data(), bytes.size())}, timeout);
    }
    // Tries once: true if `sent` says how it ended, false if write() is to go on with `parts`.
    bool write_now(WriteParts& parts, Result<void>& sent);
    // When the running read gives up; orders connections by how long they have been silent.
    MonotonicNs read_due() const { return read_deadline_.due(); }
    MonotonicNs read_was_due() const { return read_deadline_.was_due(); }  // The last one.
    bool wrote_any() const { return wrote_any_; }
    void reset_wrote_any() { wrote_any_ = false; }

    // True if the peer has neither closed nor sent anything: what a kept connection must look like.
    bool quiet();
    // The same as far as the loop has heard, which costs nothing; after watch_idle() only. Ends
    // that.
    bool stayed_quiet();
    // Between two exchanges: so that the peer's end is noticed meanwhile. The loop has work then.
    // Not with TLS.
    void watch_idle() {
        if (!tls_) watch([] {});
    }
    // Completes with true when the connection is over: the peer closed it, it failed, or a deadline
    // or close() of ours ended it; with false when the waiting coroutine was cancelled. Bytes that
    // arrive meanwhile go to the buffer; once that is full only a reset is noticed.
    Task<bool> wait_closed();
    // The same without a coroutine: calls `gone` once, from the loop or at once, unless unwatch()
    // comes first. It costs a turn no system call. Never beside wait_closed() or a read.
    void watch(std::function<void()> gone);
    void unwatch();

  private:
    using error_code = boost::system::error_code;
    enum class Wait { kNone, kFill, kReadable, kReset };  // What the reader waits for.

    bool hear(std::uint32_t events) override;
    void go_on() override;
    void drop() override;

    Error failure(const error_code& ec, const Deadline& deadline, std::string_view what) const;
    asio::mutable_buffer room();
    // Both try once: false if there is nothing (or no room) now. The first stands for an error too.
    bool receive(asio::mutable_buffer target, std::size_t& bytes, error_code& ec);
    bool receive_behind(std::size_t& bytes, error_code& ec);
    std::size_t send(const asio::const_buffer* parts, std::size_t count, error_code& ec);
    Task<error_code> wait_to_read(Wait what);
    Task<error_code> wait_to_write();
    Task<void> arrive_tls();
    void release();
    bool hears_end();
    void report_gone();
    Task<void> suspend_reader(Wait what);
    void cancel_reader();
    void cancel_writer();

    Task<Result<std::size_t>> read_tls(asio::mutable_buffer target,
                                       std::chrono::milliseconds timeout);
    std::size_t write_tls(const WriteParts& parts, error_code& ec);
    Task<error_code> wait_for(TlsSession::Next next);
    Error tls_failure(std::string_view what) const;
    bool quiet_tls();

    Tcp::socket socket_;  // Until prepare().
    Readiness* readiness_;
    int fd_ = -1;  // From then on.
    // What is known of the socket: a read or write may get something; the peer's end has come, or
    // an error, so that a read that brought little may be followed by another.
    bool may_read_ = false;
    bool may_write_ = true;
    bool peer_ended_ = false;
    bool broken_ = false;
    bool over_ = false;   // A read saw the end, or `over_ec_`; there will be no more.
    error_code over_ec_;  // eof, or a failure.
    Wait wait_ = Wait::kNone;
    Suspended reader_;
    Suspended writer_;
    std::size_t filled_ = 0;                           // By hear(), for the reader of kFill.
    std::chrono::milliseconds fill_timeout_{0};        // With TLS,
    Result<std::size_t> filled_tls_ = std::size_t{0};  // as is this.
    error_code read_ec_;                               // Of the reader's wait.
    error_code write_ec_;                              // Of the writer's.
    bool read_due_ = false;                            // The reader is to go on,
    bool write_due_ = false;                           // and the writer,
    bool watch_due_ = false;                           // and gone_ is to be called.
    std::function<void()> gone_;                       // Null: nobody watches.
    Deadline read_deadline_;
    Deadline write_deadline_;
    std::unique_ptr<TlsSession> tls_;  // Null: plain TCP.
    int reads_in_a_row_ = 0;           // Of TLS, without a wait.
    std::unique_ptr<char[]> buffer_;   // Not zeroed: pages that are never used cost nothing.
    std::size_t kept_ = 0;             // Reads go behind these bytes.
    std::size_t begin_ = 0;
    std::size_t end_ = 0;
    std::size_t used_ = 0;  // The buffer's pages up to here may have been written to.
    bool wrote_any_ = false;
};

}  // namespace hearth
