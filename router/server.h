// RouterServer: one router, whole. hearth-router and `hearth up` run it.
#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "common/base/clock.h"
#include "common/base/result.h"
#include "common/net/asio.h"
#include "common/redis/metadata_store.h"
#include "router/admin/reload.h"
#include "router/config.h"

namespace hearth {

// Everything of it runs on one io_context (one thread). Destroy it there, or when the loop has
// ended.
class RouterServer {
  public:
    // `store` may be null: static nodes only. Store and clock outlive the io_context's run.
    RouterServer(asio::io_context& io, const RouterConfig& config, MetadataStore* store,
                 const Clock& clock);
    ~RouterServer();

    // The listening sockets of a predecessor or supervisor, for `listen` and `admin_listen` in this
    // order. With `hold`, accept() begins service, start() does not. Before start().
    void inherit(std::vector<int> listeners, bool hold);
    Result<void> start();  // Binds, starts membership and health probes.
    void accept();
    Task<bool> wait_ready(std::chrono::milliseconds limit);  // True once a node is up.
    std::vector<int> listeners() const;                      // For a successor, in the same order.
    void hand_over();  // A successor accepts on them: the drain leaves their queues to it.
    // Where settings come from when they are to be read again, and what it gave at the start.
    void reload_from(ConfigSource source, LoadedConfig first);
    // Settings and certificates, for requests and connections from now on. On an error, which is
    // logged, all stays as it is.
    void reload();
    std::string endpoint() const;        // "127.0.0.1:8080", after start().
    std::string admin_endpoint() const;  // Empty when there is no admin listener.
    // Not ready -> accepts on for drain_delay_ms -> stops accepting -> finishes streams until
    // `grace` -> stops.
    Task<void> drain_and_stop(std::chrono::milliseconds grace);

  private:
    class State;
    std::unique_ptr<State> state_;
};

}  // namespace hearth
