// What-if: which sessions would move, and how much KV with them, if the members changed. Pure.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "common/base/result.h"
#include "common/wire/session_key.h"

namespace hearth {

struct WhatIfNode {
    std::string node_id;
    double weight = 1.0;
};

struct WhatIfChange {
    enum class Kind { kAdd, kRemove, kReweigh };
    Kind kind = Kind::kAdd;
    std::string node_id;
    double weight = 1.0;  // Not of a removal.
};
// "add" or "reweigh" with "id:weight" (an added node's weight may be left out: 1), or "remove" with
// "id". kInvalidArgument says what is wrong.
Result<WhatIfChange> what_if_change(const std::string& kind, const std::string& text);

struct WhatIfSession {
    SessionKey key;
    std::string holder;       // Node id; empty = its home.
    std::int64_t tokens = 0;  // Of KV; 0 = unknown, counts as 1.
};
// As many sessions as a sample needs when no real ones are known; the same ones each time.
std::vector<WhatIfSession> what_if_sample(std::size_t count = 100'000);

struct WhatIfShare {
    std::string node_id;
    double weight_before = 0, weight_after = 0;      // 0 = no member.
    double sessions_before = 0, sessions_after = 0;  // Shares of all, 0 to 1.
    double kv_before = 0, kv_after = 0;
};
struct WhatIf {
    std::size_t sessions = 0;
    // Shares of all, 0 to 1. A session moves when its holder is removed, or when it is at its home
    // and its home becomes another node (once it is idle, if that is a new one: see decide()).
    double sessions_moved = 0, kv_moved = 0;
    std::vector<WhatIfShare> nodes;  // By node id; removed ones included.
};

// kInvalidArgument: a change that adds a known node, or names an unknown one, or leaves none.
Result<WhatIf> what_if(const std::vector<WhatIfNode>& nodes,
                       const std::vector<WhatIfChange>& changes,
                       const std::vector<WhatIfSession>& sessions);

}  // namespace hearth
