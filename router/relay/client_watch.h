// ClientWatch: notices that a client has gone while its turn waits for a node, and stops the node.
#pragma once

#include <functional>
#include <memory>

#include "common/net/http_client.h"
#include "common/net/http_server.h"

namespace hearth {

// Owned by one turn, whose request body has been read when start() is called. end() before the turn
// returns: the watch reads from the client's connection.
class ClientWatch {
  public:
    explicit ClientWatch(ServerExchange& exchange) : exchange_(exchange) {}

    // While it runs, another start() does nothing; after end() it may start anew.
    void start(asio::any_io_executor executor);
    // Called when the client goes while the watch that was started runs; null = nothing is.
    void when_gone(std::function<void()> call) {
        if (state_ != nullptr) state_->on_gone = std::move(call);
    }
    bool gone() const { return state_ != nullptr && state_->gone; }
    // The exchange to abort when the client goes; null while there is none.
    void guard(ClientExchange* upstream);
    Task<void> end();

  private:
    struct State {
        explicit State(const asio::any_io_executor& executor) : ended(executor) {}
        asio::cancellation_signal cancel;
        asio::steady_timer ended;
        ClientExchange* upstream = nullptr;
        bool running = true;
        bool gone = false;
        std::function<void()> on_gone;
    };
    ServerExchange& exchange_;
    std::shared_ptr<State> state_;  // Shared with the waiting coroutine's completion.
};

}  // namespace hearth
