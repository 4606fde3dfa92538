// Drains: how far an operator's drain of a node has come, as this router sees it.
#pragma once

#include <boost/json/value.hpp>
#include <map>
#include <optional>
#include <string>

#include "common/base/clock.h"

namespace hearth {

struct RouterCore;

// What is left of a node's work: sessions whose KV is there, as the node says, else those that this
// router remembers there; and turns that run there now, of all routers as far as the node says.
struct DrainState {
    std::size_t sessions = 0;
    std::int64_t turns = 0;
    bool hands_over = false;      // The node gives its sessions to their heirs by itself,
    bool has_heard = false;       // and knows that it is to.
    std::optional<double> eta_s;  // By the pace since this router first looked; unknown at first.
};

// When the first look was, and what was left then. One thread; owned by the core.
class DrainPace {
  public:
    // Looks at `sessions` left on the node at time `now`; sessions leave with their next turns.
    std::optional<double> eta_s(const std::string& node_id, std::size_t sessions, MonotonicNs now);
    void forget(const std::string& node_id) { first_.erase(node_id); }

  private:
    struct Look {
        MonotonicNs at = 0;
        std::size_t sessions = 0;
    };
    std::map<std::string, Look> first_;
};

// Of a drained member; walks all remembered sessions once.
DrainState drain_state(RouterCore& core, const std::string& node_id);
// For the answers of drain and undrain, and the list of nodes: sessions, turns, hands_over,
// has_heard, eta_s.
boost::json::object view(const DrainState& state);

}  // namespace hearth
