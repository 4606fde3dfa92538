// Link: one TCP connection to Redis while it lasts; commands leave and replies return in order.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "common/net/asio.h"
#include "common/net/tls.h"
#include "common/redis/reply.h"

namespace hearth {

// One io_context; shared by its owner and its pending operations, so it outlives a caller that has
// left. Used once: connect, exchange, close. Invariant: replies belong to in_flight_ in order, so a
// reply that comes after its caller's deadline is read and dropped in its place.
class Link : public std::enable_shared_from_this<Link> {
  public:
    explicit Link(asio::io_context& io) : socket_(io), quiet_(io), executor_(io.get_executor()) {}

    // With `tls` also the handshake, for the server name `host`, in the same time.
    struct Security {
        std::shared_ptr<const TlsContext> tls;  // Null: plain TCP.
        std::string host;
    };
    Task<Result<void>> connect(Tcp::endpoint endpoint, Security security,
                               std::chrono::milliseconds timeout);

    // Sends the commands at once and waits for all their replies, those of kind kError among them.
    // kTimeout, or what close() was told; kCancelled when the caller was cancelled.
    Task<Result<std::vector<Reply>>> exchange(std::vector<std::string> commands,
                                              std::chrono::milliseconds timeout);

    // Waits for `gap`, or until the link is closed or kMissedMax deadlines in a row were missed.
    Task<void> rest(std::chrono::milliseconds gap);

    void close(
        const Error& why);  // Fails what is in flight with `why`. Idempotent: the first wins.
    bool open() const { return open_; }
    const Error& why() const { return why_; }               // After close().
    bool suspect() const { return missed_ >= kMissedMax; }  // Replies are late, or never come.
    std::size_t in_flight() const { return commands_in_flight_; }

  private:
    static constexpr int kMissedMax = 3;

    struct Waiter {
        explicit Waiter(const asio::any_io_executor& executor) : timer(executor) {}
        asio::steady_timer timer;
        std::size_t expected = 0;
        std::vector<Reply> replies;
        bool done = false;  // All replies are here, or the link was closed.
    };

    Task<Result<void>> shake_hands(Security security);
    void read_some();
    void write_some();
    void read_tls();
    void write_tls();
    void wait_tls(TlsSession::Next next, void (Link::*then)());
    void wrote(std::size_t size);
    Result<void> take_replies();

    Tcp::socket socket_;
    std::unique_ptr<TlsSession> tls_;  // Null: plain TCP.
    asio::steady_timer quiet_;         // The deadline of connect, then the gap of rest.
    asio::any_io_executor executor_;
    ReplyReader reader_;
    std::deque<std::shared_ptr<Waiter>> in_flight_;
    std::size_t commands_in_flight_ = 0;
    std::string outgoing_, writing_;  // What waits, and what the socket is being given.
    std::size_t written_ = 0;         // Of writing_.
    std::array<char, 16 * 1024> incoming_{};
    int missed_ = 0;  // Deadlines missed since the last reply.
    bool open_ = false, closed_ = false;
    Error why_;
};

}  // namespace hearth
