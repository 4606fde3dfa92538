// Membership: which nodes there are, as an immutable snapshot made from Redis and a static list.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "common/base/clock.h"
#include "common/wire/records.h"
#include "router/config.h"
#include "router/placement/placement.h"

namespace hearth {

// What this router itself knows of a node. Outlives snapshots; one thread.
struct NodeStatus {
    enum class Health { kUnknown, kUp, kDown };  // Unknown: usable, but not yet ready.
    Health health = Health::kUnknown;
    int failures = 0;  // Probes that failed, in a row.
    bool probing = false;
    bool speaks_hearth = false;         // It signed an answer with hearth-node.
    std::int64_t in_flight = 0;         // Turns of this router on the node.
    std::int64_t in_flight_tokens = 0;  // Estimate of what they compute of their prompts.
    // Of those, what was sent since the node's record last changed; and how often it has.
    std::int64_t unpublished_tokens = 0;
    std::uint64_t record_changes = 0;

    bool usable() const { return health != Health::kDown; }
};

struct Member {
    NodeRecord record;
    std::shared_ptr<NodeStatus> status;

    // One of our own nodes: a turn that is sent twice gives the same bytes twice.
    bool is_hearth() const { return !record.generation.empty() || status->speaks_hearth; }
    // How busy the node is, for comparing two: what it published and what we sent it since.
    double load() const;
    // Predicted time until a prompt sent now is begun; nothing if the node publishes no speed.
    std::optional<double> wait_ms() const;
};

// Immutable. Invariant: seats[i] is the seat of members[i] for i < seats.size(); members beyond
// those (starting, draining) take no turns.
struct Members {
    std::vector<Member> members;
    std::vector<Seat> seats;
    SeatTable table;  // Of those seats.

    const Member* find(std::string_view node_id) const;
    std::optional<std::uint32_t> seat_of(std::string_view node_id) const;
    std::size_t count(NodeState state) const;
};

// One thread; a request loads the snapshot once and keeps it.
// A node of the static list is always a member. A node of the store stays for `kAbsenceGrace` after
// the first answer that lacks it, however long there was no answer before: a Redis that comes back
// empty must not scatter the fleet's sessions until every node's next heartbeat. A node that has
// really left refuses connections and is walked past meanwhile.
class Membership {
  public:
    static constexpr MonotonicNs kAbsenceGrace = 5 * kSecond;

    explicit Membership(const std::vector<StaticNode>& fixed);

    std::shared_ptr<const Members> now() const { return snapshot_; }
    // Takes the store's answer at time `now`. While the store is down nobody calls this, and the
    // last snapshot stands.
    void apply(const std::vector<NodeRecord>& records, MonotonicNs now);

  private:
    struct Known {
        NodeRecord record;
        std::shared_ptr<NodeStatus> status;
        bool fixed = false;
        std::optional<MonotonicNs> absent_since;  // First answer of a row that lacked it.
    };
    void publish();

    std::map<std::string, Known> known_;  // By node id, so that snapshots have one order.
    std::shared_ptr<const Members> snapshot_;
};

}  // namespace hearth
