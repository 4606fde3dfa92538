// Health: this router's own opinion of each node. A node that is down is walked past in a session's
// order of heirs; it keeps its place in the hash, so its sessions come back when it does.
#pragma once

#include "common/net/http_client.h"
#include "router/members/membership.h"

namespace hearth {

enum class Probe {
    kPassed,
    kRefused,  // Nobody listens: the node is down at once.
    kFailed,   // Slow or sick: down after several in a row, as a busy node may be slow.
};

constexpr int kProbeFailuresMax = 3;

// True if the node's health changed.
bool note_probe(NodeStatus& status, Probe probe);
// A turn could not reach the node: down at once, until a probe passes.
bool note_connect_failure(NodeStatus& status);

// Any answer below 500 counts, since foreign servers need not know /health.
Probe probe_outcome(const Result<HttpClient::Answer>& answer);

}  // namespace hearth
