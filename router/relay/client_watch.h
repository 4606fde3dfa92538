// ClientWatch: notices that a client has gone while its turn waits for a node, and stops the node.
#pragma once

#include <functional>
#include <utility>

#include "common/net/http_client.h"
#include "common/net/http_server.h"

namespace hearth {

// Owned by one turn; while it runs nobody reads from the client's connection. Ends with its owner.
class ClientWatch {
  public:
    explicit ClientWatch(ServerExchange& exchange) : exchange_(exchange) {}
    ~ClientWatch() { end(); }
    ClientWatch(const ClientWatch&) = delete;
    ClientWatch& operator=(const ClientWatch&) = delete;

    void start();  // While it runs, another start() does nothing; after end() it may start anew.
    void end();
    // Called when the client goes while the watch that was started runs; null = nothing is.
    void when_gone(std::function<void()> call) { on_gone_ = std::move(call); }
    bool gone() const { return gone_; }
    // The exchange to abort when the client goes; null while there is none.
    void guard(ClientExchange* upstream) { upstream_ = upstream; }

  private:
    ServerExchange& exchange_;
    ClientExchange* upstream_ = nullptr;
    std::function<void()> on_gone_;
    bool running_ = false;
    bool gone_ = false;
};

}  // namespace hearth
