// Explain: the decision that a session's next turn would get now, with all that led to it.
#pragma once

#include <string>
#include <vector>

#include "router/placement/placer.h"

namespace hearth {

struct ExplainedNode {  // By rank in the session's own order: home, first heir, ...
    std::string node_id;
    double weight = 1.0;
    SeatState state;
};

struct Explanation {
    SessionKey session;
    std::string known_by;  // "memory", "store", or "nobody".
    std::string store;     // "ok", "timeout", "error"; "none" without one.
    std::string holder;    // Node id that holds the session as far as is known; else empty.
    std::string pin;       // Node id that an operator wants it on.
    Situation situation;   // What decide() was told; epoch and tokens are there.
    Decision decision;     // Seats are those of `members`.
    std::shared_ptr<const Members> members;
    std::vector<ExplainedNode> order;  // At most eight.

    // Node id of a seat of the decision; empty for none.
    std::string node_id(std::optional<std::uint32_t> seat) const;
};

// Changes nothing: no claim, no order of use. One look-up in the store, within its budget, where
// the turn would make one.
Task<Explanation> explain(std::shared_ptr<RouterCore> core, SessionKey session);

}  // namespace hearth
