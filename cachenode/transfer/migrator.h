// Migrator: which sessions move between nodes, where to, and when.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "cachenode/publish/publisher.h"
#include "cachenode/transfer/kv_gate.h"
#include "cachenode/transfer/transfer_metrics.h"
#include "cachenode/transfer/transport.h"
#include "common/base/clock.h"

namespace hearth {

struct MigratorOptions {
    std::string node_id;
    std::string fingerprint;     // Hex, as in node records: only nodes of the same model are peers.
    std::int64_t replicate = 0;  // Copies of each committed turn on other nodes: 0 or 1.
    std::chrono::milliseconds pull_timeout{2'000};
    std::chrono::milliseconds push_timeout{30'000};
    double kv_bytes_per_token = 0;
};

struct MigratorParts {
    std::shared_ptr<KvGate> gate;
    std::shared_ptr<Transport> transport;
    std::shared_ptr<Publisher> publisher;
    std::shared_ptr<TransferMetrics> metrics;
};

// One io_context's thread. Heirs are those of the router: rendezvous order of the other ready
// nodes, by the same function. Nothing here fails a turn: what cannot be moved is computed again.
class Migrator {
  public:
    Migrator(asio::io_context& io, MigratorOptions options, MigratorParts parts,
             const Clock& clock);
    ~Migrator();

    void start();  // Of copies to heirs, if there are to be any.
    void stop();

    // A turn has come whose session a live peer holds (hint.holder): brings its KV here, if that is
    // faster than to compute it and within pull_timeout; where the peer has forgotten the session,
    // the pages of this prompt that it has still. Returns the tokens that are here now, and notes
    // in the hint if what came was corrupt. `turn` outlives the call.
    Task<std::int64_t> fetch(TurnRequest& turn, double prefill_tokens_per_s);
    // A turn of the session ended here.
    void turn_done(const SessionKey& key, const std::string& salt);
    // Gives every session to its heir, the most recently used first, until `deadline`. Turns may
    // still run meanwhile, and their sessions are only copied: call it again for those.
    Task<void> hand_off(MonotonicNs deadline);
    // What goes along with KV, whoever moves it.
    void on_kept(KeptTexts kept);
    // Asks `holder` (a node id, or empty) and then the session's heirs for what they keep of it,
    // until `is_here`. False: nobody has it.
    Task<bool> fetch_kept(SessionKey key, std::string salt, std::string holder,
                          std::function<bool()> is_here);
    // An operator drains this node: the same again and again, until he does no more.
    void drain(bool drained);

  private:
    class Core;
    std::shared_ptr<Core> core_;  // Shared with the loop, which outlives us by one wake-up.
};

}  // namespace hearth
