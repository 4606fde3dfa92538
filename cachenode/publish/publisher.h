// Publisher: what a node tells the metadata store: its record, its sessions, its coming and going.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "cachenode/metrics.h"
#include "cachenode/scheduler/turn.h"
#include "common/base/clock.h"
#include "common/net/asio.h"
#include "common/redis/metadata_store.h"

namespace hearth {

struct PublisherOptions {
    std::string node_id;
    std::string generation;
    std::chrono::milliseconds heartbeat{1'000};  // A record lives three of them.
    std::chrono::milliseconds session_ttl{86'400'000};
    std::size_t queue_max = 4'096;      // Session records that wait for the store.
    std::size_t sessions_max = 65'536;  // Sessions whose epoch is remembered.
};

// One io_context's thread. Chats never wait for it, save for the bounded look-up of find_hint().
// Store and clock outlive the io_context's run; the metrics are shared.
class Publisher {
  public:
    // `record` gives this node's record as of now; called on the io_context's thread.
    Publisher(asio::io_context& io, PublisherOptions options, MetadataStore& store,
              std::function<NodeRecord()> record, std::shared_ptr<NodeMetrics> metrics,
              const Clock& clock);
    ~Publisher();

    void start();  // Heartbeats begin, the first at once.
    void stop();   // Ends the loops without telling the store; `record` is not called again.
    // Ends the heartbeats, then removes the node's record: readers see it gone at once. Sessions
    // are published on, for the turns that finish meanwhile.
    Task<void> leave();
    // Waits until all sessions are published, for two seconds at most, and stops.
    Task<void> flush();

    // What the store knows of a session that this node may not be the last to have served: asked
    // only when its own memory of the session ends before `history_tokens`. Never fails: a store
    // that is down or slow gives an empty hint. `router_epoch`: of the binding that the turn came
    // under, 0 = none. A live node that holds the session under a higher epoch keeps it: the hint
    // names it, and this node serves the turn without becoming the session's.
    Task<SessionHint> find_hint(SessionKey key, std::int64_t history_tokens,
                                std::int64_t router_epoch);
    // After a turn: queues the session's record. When the queue is full the oldest is dropped.
    void session_changed(const SessionKey& key, std::int64_t tokens, std::int64_t turn);

    // A peer gave us the session, as its owner of `epoch` or as a replica: this node's memory of
    // it.
    void holds(const SessionKey& key, std::int64_t epoch, std::int64_t tokens);
    void forget(const SessionKey& key);               // Its session was erased here.
    std::int64_t epoch(const SessionKey& key) const;  // Under which we publish it.
    void tell_now();                                  // The next heartbeat comes at once.
    // Live ones, as of the last heartbeat's time; draining too are those that an operator drains.
    Task<Result<std::vector<NodeRecord>>> nodes();
    // `told`: with each heartbeat that shows that an operator drains this node, or no more.
    void on_drained(std::function<void(bool drained)> told);
    bool is_drained() const;
    // The session is the node's of `record` from now on, verified there.
    Task<Result<void>> hand_over(SessionKey key, SessionRecord record);

    std::size_t queued() const;

  private:
    class Core;
    std::shared_ptr<Core> core_;  // Shared with the loops, which outlive us by one wake-up.
};

}  // namespace hearth
