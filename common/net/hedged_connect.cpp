// Both attempts and who waits for them share a Race; all on one thread.
#include "common/net/hedged_connect.h"

#include <array>
#include <utility>

namespace hearth {
namespace {

using std::chrono::milliseconds;
using Connection = std::unique_ptr<ClientConnection>;

struct Race {
    explicit Race(asio::io_context& io) : changed(io) {}
    bool is_open() const { return !winner && running > 0; }

    asio::steady_timer changed;  // Cancelled when an attempt ends.
    std::array<Connection, 2> attempts;
    std::size_t running = 0;
    Connection winner;
    Error last = make_error(ErrorCode::kUnavailable, "connect was not tried");
};

Task<void> attempt(std::shared_ptr<Race> race, std::size_t at, Tcp::endpoint endpoint,
                   milliseconds timeout) {
    const Result<void> connected = co_await race->attempts[at]->stream().connect(endpoint, timeout);
    if (!connected && !race->winner) race->last = connected.error();
    if (connected && !race->winner) {
        race->winner = std::move(race->attempts[at]);
        const Connection& other = race->attempts[1 - at];
        if (other) other->stream().close();
    }
}

}  // namespace

Task<Result<Connection>> connect_hedged(asio::io_context& io, std::shared_ptr<Deadlines> deadlines,
                                        Tcp::endpoint endpoint, milliseconds timeout,
                                        milliseconds hedge) {
    if (hedge.count() == 0 || hedge >= timeout) {
        auto connection = std::make_unique<ClientConnection>(Tcp::socket(io), deadlines);
        const auto connected = co_await connection->stream().connect(endpoint, timeout);
        if (!connected) co_return connected.error();
        co_return connection;
    }
    const auto race = std::make_shared<Race>(io);
    boost::system::error_code ignored;
    milliseconds left = timeout;
    for (Connection& next : race->attempts) {
        next = std::make_unique<ClientConnection>(Tcp::socket(io), deadlines);
        const auto at = static_cast<std::size_t>(&next - race->attempts.data());
        race->changed.expires_after(hedge);
        ++race->running;
        asio::co_spawn(io, attempt(race, at, endpoint, left), [race](std::exception_ptr) {
            --race->running;
            race->changed.cancel();
        });
        if (race->is_open())
            co_await race->changed.async_wait(asio::redirect_error(asio::use_awaitable, ignored));
        if (!race->is_open()) break;
        left = timeout - hedge;
    }
    while (race->running > 0) {
        race->changed.expires_after(timeout);
        co_await race->changed.async_wait(asio::redirect_error(asio::use_awaitable, ignored));
    }
    if (!race->winner) co_return race->last;
    co_return std::move(race->winner);
}

}  // namespace hearth
