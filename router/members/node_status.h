// NodeStatus: what this router itself knows and thinks of one node.
#pragma once

#include <cstdint>
#include <string>

#include "common/base/clock.h"

namespace hearth {

// Outlives snapshots and changes of address; one thread. health.h has the rules that change it.
struct NodeStatus {
    enum class Health { kUnknown, kUp, kDown };  // Unknown: usable, but not yet ready.
    // Of the circuit breaker: an ejected node is open; after its time one trial turn may pass.
    enum class Circuit { kClosed, kOpen, kHalfOpen };
    Health health = Health::kUnknown;
    int failures = 0;      // Probes that failed, in a row.
    int passes = 0;        // Probes that passed, in a row, since it was down.
    bool refused = false;  // Down because nobody listens, which is no matter of opinion.
    bool probing = false;
    bool speaks_hearth = false;  // It signed an answer with hearth-node.
    Circuit circuit = Circuit::kClosed;
    bool trial = false;     // The one turn of a half-open circuit is on its way.
    int turn_failures = 0;  // Turns that failed by the node's fault, in a row.
    int ejections = 0;      // Since it last served well for as long as the last one took.
    MonotonicNs eject_until = 0;
    MonotonicNs closed_at = 0;          // When the circuit closed again.
    std::string eject_reason;           // "connect", "timeout", "died" or "5xx"; empty = never.
    bool panic = false;                 // Too few of its pool are usable: opinions do not count.
    MonotonicNs warm_since = 0;         // Slow start began; 0 = there is none.
    double ramp = 1.0;                  // Share of its weight that counts for first turns.
    std::int64_t in_flight = 0;         // Turns of this router on the node.
    std::int64_t in_flight_max = 0;     // 0 = no bound.
    std::int64_t in_flight_tokens = 0;  // Estimate of what they compute of their prompts.
    // Of those, what was sent since the node's record last changed; and how often it has.
    std::int64_t unpublished_tokens = 0;
    std::uint64_t record_changes = 0;
    // The generation before this one; a process that was replaced never publishes again, so if it
    // does, two live ones share the id.
    std::string generation_before;
    int id_conflicts = 0;

    // By this router's opinion alone, panic or not.
    bool sound() const {
        const bool closed =
            circuit == Circuit::kClosed || (circuit == Circuit::kHalfOpen && !trial);
        return health != Health::kDown && closed;
    }
    bool usable() const { return sound() || (panic && !refused); }
    bool full() const { return in_flight_max > 0 && in_flight >= in_flight_max; }
};

}  // namespace hearth
