// NodeRecord and SessionRecord: what nodes publish and routers read; the fields of Redis hashes.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "common/base/result.h"

namespace hearth {

enum class NodeState { kStarting, kReady, kDraining };
const char* to_string(NodeState state);

// Why a reusable token was computed again (design §7), in the order of NodeRecord::missed_tokens.
inline constexpr std::array<const char*, 9> kMissReasonNames = {"rerouted",  "evicted", "expired",
                                                                "diverged",  "salt",    "capacity",
                                                                "node_lost", "corrupt", "declined"};

// Whether an infinite cache that never fails would have missed it too (design §11): it may not
// cross tenants, nor load what is quicker computed.
constexpr bool is_beyond_any_cache(std::string_view reason) {
    return reason == "salt" || reason == "declined";
}

struct NodeRecord {
    std::string node_id;     // Stable name; placement hashes it.
    std::string generation;  // New at each start.
    std::string address;     // host:port of its HTTP server.
    NodeState state = NodeState::kStarting;
    std::string model;              // Served model name.
    std::string model_fingerprint;  // Hex.
    double weight = 1.0;
    std::int64_t queued_tokens = 0;  // Load: prompt tokens waiting and running sequences' estimate.
    double prefill_tokens_per_s = 0;
    std::int64_t running = 0;  // Sequences in the batch.
    std::int64_t waiting = 0;
    std::int64_t kv_bytes_used = 0, kv_bytes_max = 0;            // In memory.
    std::int64_t kv_disk_bytes_used = 0, kv_disk_bytes_max = 0;  // 0 and 0: it has no disk tier.
    // Whose KV is there; it hands them over when an operator drains it. -1 = unknown, and it does
    // not.
    std::int64_t sessions = -1;
    bool is_drained = false;  // It has heard of the drain.
    std::int64_t reused_tokens = 0, reusable_tokens = 0, prompt_tokens = 0;  // Lifetime counters.
    std::array<std::int64_t, kMissReasonNames.size()> missed_tokens{};
    std::int64_t started_ms = 0;  // Unix time of this generation's start; 0 = unknown.
};

struct SessionRecord {
    std::string node_id;
    std::string generation;
    std::int64_t epoch = 0;   // Grows with every change of owner.
    std::int64_t tokens = 0;  // KV tokens of the session on that node.
    std::int64_t turn = 0;
    std::string tier;             // "device" for now.
    std::int64_t since_ms = 0;    // Unix time of its first turn on that node; 0 = unknown.
    std::int64_t updated_ms = 0;  // Unix time of its last turn; 0 = unknown.
    // Where a claim took it from; of meaning until the new node has served a turn (tokens == 0).
    std::string from_node = {}, from_generation = {};
    std::int64_t from_tokens = 0;
    // Node id that an operator wants it on; empty = none. pin_session() sets it.
    std::string pin = {};
};

// Field lists for a Redis hash, and back. Unknown fields are ignored, missing ones keep defaults;
// malformed numbers are kCorrupt and name the field.
using FieldList = std::vector<std::pair<std::string, std::string>>;
FieldList to_fields(const NodeRecord& record);
FieldList to_fields(const SessionRecord& record);  // Without the pin: it is not the owner's.
Result<NodeRecord> node_record_from(const FieldList& fields);
Result<SessionRecord> session_record_from(const FieldList& fields);

}  // namespace hearth
