// Connection: one pipelined Redis connection that heals itself; a deadline on every command.
#pragma once

#include <array>
#include <deque>
#include <memory>
#include <string>

#include "common/base/rng.h"
#include "common/redis/redis_store.h"
#include "common/redis/reply.h"

namespace hearth {

// One io_context. A command sent while down fails at once; a reply that comes after its deadline is
// read and dropped, so that later replies keep their order. Three deadlines missed in a row, or a
// PING without an answer, cut the connection; it is made again with back-off and jitter.
class RedisStore::Connection : public std::enable_shared_from_this<Connection> {
  public:
    Connection(asio::io_context& io, const RedisOptions& options);

    void start();
    void stop();
    bool up() const { return up_; }

    // kUnavailable (down), kTimeout, kExhausted (too many in flight), kCancelled (stopped). A reply
    // of kind kError is kUnavailable with Redis' own first word (LOADING, READONLY, OOM, NOAUTH,
    // ...).
    Task<Result<Reply>> command(std::string bytes, std::chrono::milliseconds timeout);

  private:
    struct Waiter {
        explicit Waiter(const asio::any_io_executor& executor) : timer(executor) {}
        asio::steady_timer timer;
        std::optional<Result<Reply>> result;
    };

    Task<void> run();
    Task<Result<void>> connect();
    Task<void> watch();  // PINGs while connected.
    Task<Result<Reply>> exchange(std::string bytes, std::chrono::milliseconds timeout);
    void read_some();
    void write_some();
    void cut(const Error& why);  // Fails what is in flight, closes the socket.

    asio::io_context& io_;
    const RedisOptions options_;
    Tcp::socket socket_;
    asio::steady_timer pause_;  // Back-off, and the gap between PINGs.
    std::unique_ptr<ReplyReader> reader_;
    std::deque<std::shared_ptr<Waiter>> in_flight_;
    std::string outgoing_, writing_;
    std::array<char, 16 * 1024> incoming_{};
    std::uint64_t epoch_ = 0;  // Grows with each cut; late handlers see that they are late.
    int missed_ = 0;           // Deadlines missed in a row.
    bool connected_ = false, up_ = false, stopped_ = false;
    Rng jitter_;
};

}  // namespace hearth
