// Membership: which nodes there are, as an immutable snapshot made from four sources, in pools.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/clock.h"
#include "common/wire/placement.h"
#include "common/wire/records.h"
#include "router/config.h"
#include "router/members/node_status.h"

namespace hearth {

// Where members come from, best first: of two with one id the better source's counts whole, and
// the other's takes over when that is gone. A node's own word beats what was written about it.
enum class Source { kRegistry, kStatic, kFile, kDns };
constexpr std::size_t kSources = 4;
const char* to_string(Source source);

struct Member {
    NodeRecord record;
    std::shared_ptr<NodeStatus> status;
    Source source = Source::kRegistry;
    bool drained = false;  // By an operator.

    // One of our own nodes: a turn that is sent twice gives the same bytes twice.
    bool is_hearth() const { return !record.generation.empty() || status->speaks_hearth; }
    // How busy the node is, for comparing two: what it published and what we sent it since. A node
    // in slow start seems busier than it is.
    double load() const;
    // Predicted time until a prompt sent now is begun; nothing if the node publishes no speed.
    std::optional<double> wait_ms() const;
    // "active", "joining", "draining" or "ejected" (down, or its circuit is open).
    const char* standing() const;
    // Why it is not active; empty if it is.
    std::string standing_reason() const;
};

// Immutable. Invariant: seats[i] is the seat of members[i] for i < seats.size(); members beyond
// those (starting, draining) take no turns.
struct Members {
    std::vector<Member> members;
    std::vector<Seat> seats;
    SeatTable table;            // Of those seats.
    std::uint64_t version = 0;  // Grows when seats or states change.

    struct Pool {
        std::string name;
        std::vector<std::string> models, aliases;  // A default pool's only model is its name.
        std::shared_ptr<const Members> members;    // Null: these same ones.
    };
    std::vector<Pool> pools;  // Of the whole only; by name, or as configured.

    const Member* find(std::string_view node_id) const;
    std::optional<std::uint32_t> seat_of(std::string_view node_id) const;
    std::size_t count(NodeState state) const;
    // The pool that serves a model or alias; null if none does. With a single pool, that one:
    // whether it has the model its nodes know best.
    const Pool* pool(std::string_view model) const;
    bool needs_model() const { return pools.size() > 1; }
};
// The members of `pool`, itself one of `all`'s.
std::shared_ptr<const Members> members_of(const std::shared_ptr<const Members>& all,
                                          const Members::Pool& pool);

// One thread; a request loads the snapshot once and keeps it.
// A node of the static list is always a member. A node of the store stays for `kAbsenceGrace` after
// the first answer that lacks it, and for `kAbsenceGraceUp` while it answers its probes: a Redis
// that comes back empty must not scatter the fleet's sessions until every node's next heartbeat. A
// node that has really left refuses connections and is walked past meanwhile. File and DNS say
// exactly who is there; bad or empty answers never get here.
class Membership {
  public:
    static constexpr MonotonicNs kAbsenceGrace = 5 * kSecond;
    static constexpr MonotonicNs kAbsenceGraceUp = 60 * kSecond;

    explicit Membership(const std::vector<StaticNode>& fixed, std::vector<PoolSettings> pools = {},
                        HealthRules rules = {});

    std::shared_ptr<const Members> now() const { return snapshot_; }
    // Takes the store's answer at time `now`. While the store is down nobody calls this, and the
    // last snapshot stands.
    void apply(const std::vector<NodeRecord>& records, MonotonicNs now);
    // The store was down, or has lost its memory: absence counts anew from its next answer.
    void note_outage();
    // Takes the whole answer of file or DNS.
    void replace(Source source, const std::vector<StaticNode>& nodes, MonotonicNs now);

    // An operator's wish that outlives snapshots: a drained node gets no more turns, and its
    // sessions go to their heirs. The node need not be a member yet. True if that is news.
    bool set_drained(const std::string& node_id, bool drained);
    bool drained(const std::string& node_id) const;
    // Takes the store's wishes; returns ours that it lacks: it has lost them, or was never told.
    std::map<std::string, bool> merge_drains(const std::map<std::string, bool>& told);
    // Whether the store has the last wish for the node; until it does, ours beats what it says.
    void note_told(const std::string& node_id, bool told);

    const HealthRules& rules() const { return rules_; }

  private:
    struct Listed {
        NodeRecord record;
        std::optional<MonotonicNs> absent_since;  // First answer of a row that lacked it.
    };
    using List = std::map<std::string, Listed>;  // By node id, so that snapshots have one order.

    void note_registered(const NodeRecord& record, const Listed* before, MonotonicNs now);
    NodeStatus& status_of(const std::string& node_id, MonotonicNs now);
    void publish();
    void make_pools(Members& all) const;

    const std::vector<PoolSettings> pools_;
    const HealthRules rules_;
    std::array<List, kSources> lists_;
    std::map<std::string, std::shared_ptr<NodeStatus>> statuses_;
    std::map<std::string, bool> drains_;
    std::set<std::string> untold_;             // Of drains_, what the store was not told.
    std::optional<MonotonicNs> first_answer_;  // Of any source.
    std::shared_ptr<const Members> snapshot_;
};

}  // namespace hearth
