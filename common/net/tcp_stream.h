// TcpStream: a connected socket with its input buffer and deadlines; under both server and client.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string_view>

#include "common/base/result.h"
#include "common/net/asio.h"
#include "common/net/deadlines.h"
#include "common/net/tls.h"

namespace hearth {

constexpr std::size_t kStreamBufferBytes = 64 * 1024;

// Owned by one connection. One io_context; at most one read and one write at a time, which may run
// beside each other. The first bytes of the buffer can be kept (a parsed head, to which views
// point): later reads never touch or move them. After start_tls() all bytes go through TLS
// (tcp_stream_tls.cpp); without it that costs one branch a call.
class TcpStream {
  public:
    using WriteParts = std::array<asio::const_buffer, 4>;  // Written in order by one system call.

    TcpStream(Tcp::socket socket, const std::shared_ptr<Deadlines>& deadlines);
    ~TcpStream();
    TcpStream(const TcpStream&) = delete;
    TcpStream& operator=(const TcpStream&) = delete;

    Task<Result<void>> connect(const Tcp::endpoint& endpoint, std::chrono::milliseconds timeout);
    void prepare();  // Once connected: Nagle off, never blocking.
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
    bool open() const { return socket_.is_open(); }

    // Bytes received and not yet consumed.
    std::string_view unread() const { return {buffer_.get() + begin_, end_ - begin_}; }
    void consume(std::size_t bytes) { begin_ += bytes; }
    char* unread_bytes() { return buffer_.get() + begin_; }
    void keep_consumed() { kept_ = begin_; }  // What was consumed so far stays where it is.
    // Moves the unread bytes to the front, and gives pages back that only large bodies needed.
    void forget_kept();

    // Reads some bytes behind the unread ones; 0 at the peer's end. Needs room.
    Task<Result<std::size_t>> fill(std::chrono::milliseconds timeout);
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
    // Between two exchanges: begins the read that the next one will wait for, so that the peer's
    // end is noticed meanwhile. The loop has work then. Not with TLS.
    void watch_idle() {
        if (!tls_) watch([] {});
    }
    // Completes with true when the connection is over: the peer closed it, it failed, or a deadline
    // or close() of ours ended it; with false when the waiting coroutine was cancelled. Bytes that
    // arrive meanwhile go to the buffer; once that is full only a reset is noticed.
    Task<bool> wait_closed();
    // The same without a coroutine: calls `gone` once, from the loop or at once, unless unwatch()
    // comes first. The read that runs then stays, and the next fill() or read_some() takes it over:
    // being watched costs a turn no system call. Never beside wait_closed() or a read.
    void watch(std::function<void()> gone);
    void unwatch();

    Tcp::socket& socket() { return socket_; }

  private:
    Error failure(const boost::system::error_code& ec, const Deadline& deadline,
                  std::string_view what) const;
    asio::mutable_buffer room();
    Task<Result<std::size_t>> fill_tls(std::chrono::milliseconds timeout);
    Task<Result<std::size_t>> fill_plain(std::chrono::milliseconds timeout);

    struct Watch;
    void arm_watch();
    void arm_wait();
    void watched_read(const boost::system::error_code& ec, std::size_t bytes);
    void report_gone();
    bool joins_read() const;  // The watch's read runs, or has ended for good.
    Task<Result<std::size_t>> join_read(std::chrono::milliseconds timeout);

    Task<Result<std::size_t>> read_tls(asio::mutable_buffer target,
                                       std::chrono::milliseconds timeout);
    std::size_t write_tls(const WriteParts& parts, boost::system::error_code& ec);
    Task<boost::system::error_code> wait_for(TlsSession::Next next);
    Error tls_failure(std::string_view what) const;
    bool quiet_tls();
    Task<bool> wait_closed_tls();

    Tcp::socket socket_;
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
    std::shared_ptr<Watch> watch_;  // Shared with its operation. Null until the first watch().
};

}  // namespace hearth
