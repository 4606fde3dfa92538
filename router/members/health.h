// Health: this router's own opinion of each node. A node that is down or ejected is walked past in
// a session's order of heirs; it keeps its place in the hash, so its sessions come back with it.
#pragma once

#include <string_view>

#include "common/net/http_client.h"
#include "router/members/membership.h"

namespace hearth {

enum class Probe {
    kPassed,
    kRefused,  // Nobody listens: the node is down at once.
    kFailed,   // Slow or sick: down after several in a row, as a busy node may be slow.
};

// How a turn on a node ended, as far as it tells of the node.
enum class Verdict {
    kGood,
    kConnect,  // No connection.
    kTimeout,  // No answer in time.
    kDied,     // The connection broke before the answer's end.
    kServerError,
    kNone,  // The client left, or the node was full: says nothing.
};
const char* to_string(Verdict verdict);  // "connect", "timeout", "died", "5xx".

// Each is a step of a state machine: the event, the rules, the time. Those that return bool say
// whether the node's health changed.
bool note_probe(NodeStatus& status, Probe probe, const HealthRules& rules = {},
                MonotonicNs now = 0);
// A turn could not reach the node: down at once, until probes pass.
bool note_connect_failure(NodeStatus& status);
// A turn is sent to the node: the trial, if its circuit is half open.
void note_turn_start(NodeStatus& status);
// That turn's end. True if the node should be ejected: eject() if may_eject().
bool note_turn_end(NodeStatus& status, Verdict verdict, const HealthRules& rules, MonotonicNs now);
// For rules.eject, doubled with each ejection, at most rules.eject_max.
void eject(NodeStatus& status, Verdict why, const HealthRules& rules, MonotonicNs now);
// Time goes by: an ejection ends (half open), a slow start proceeds.
void note_time(NodeStatus& status, const HealthRules& rules, MonotonicNs now);
// A new process runs under the node's name: nothing that was thought of the old one holds.
void note_restart(NodeStatus& status, const HealthRules& rules, MonotonicNs now);

// Whether one more of these seats may be ejected: never the only one, and only so many percent
// (but always one of two or more).
bool may_eject(const Members& pool, const HealthRules& rules);
// Sets or ends panic: fewer than rules.panic_percent of the seats are sound. True if that changed.
bool note_panic(const Members& pool, const HealthRules& rules);

// Any answer below 500 counts, since foreign servers need not know the path.
Probe probe_outcome(const Result<HttpClient::Answer>& answer);

}  // namespace hearth
