// NodeServer: one whole cache node. hearth-cachenode and `hearth up` run it.
#pragma once

#include <memory>
#include <string>

#include "cachenode/config.h"
#include "common/base/clock.h"
#include "common/base/result.h"
#include "common/net/asio.h"
#include "common/redis/metadata_store.h"
#include "engine/model/checkpoint.h"

namespace hearth {

// Runs on one io_context (one thread) besides the scheduler's own thread.
class NodeServer {
  public:
    // `store` may be null (no publishing). Takes the checkpoint that load_checkpoint() read.
    static Result<std::unique_ptr<NodeServer>> make(asio::io_context& io, const NodeConfig& config,
                                                    engine::Checkpoint&& checkpoint,
                                                    MetadataStore* store, const Clock& clock);
    ~NodeServer();

    Result<void> start();          // Binds, starts the scheduler and the heartbeat.
    std::string endpoint() const;  // "127.0.0.1:8101", after start().
    const std::string& generation() const;
    Result<void> reload_tls();  // Reads the certificate files anew; on an error all stays.
    // Takes no more turns and hands its sessions to their heirs, but stays: for a supervisor that
    // wants the drain before it ends the process. Nothing of it outlives the process. Idempotent.
    void begin_drain();
    // Not ready -> leaves the membership -> finishes streams until `grace` -> stops.
    Task<void> drain_and_stop(std::chrono::milliseconds grace);

  private:
    class State;
    explicit NodeServer(std::unique_ptr<State> state);
    std::unique_ptr<State> state_;
};

}  // namespace hearth
