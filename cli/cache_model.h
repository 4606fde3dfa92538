// CacheModel: which tokens of a recorded load an LRU cache of some size would have held. Pure.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace hearth::cli {

// One request of a trace. What an earlier request with the same leading units has computed can be
// used again: a session's tokens so far are a unit of a growing size, or blocks have ids.
struct TraceTurn {
    double at_s = 0;
    std::vector<std::int64_t> units;        // From the prompt's beginning.
    std::vector<std::int64_t> unit_tokens;  // Of each; of a session what its prompt has.
    std::int64_t added_tokens = 0;  // The reply: in the cache afterwards, with the last unit.
};

struct CacheForecast {
    double bytes = 0;
    std::int64_t reusable_tokens = 0, reused_tokens = 0;
    // Seconds from last use to eviction, of the middle one of all evictions; 0 = none.
    double kept_s = 0;
};

// LRU with the deepest units first to go, as a tree of KV pages evicts. `bytes` for KV of
// `bytes_per_token`; every turn's KV is kept as long as it fits.
CacheForecast forecast(const std::vector<TraceTurn>& turns, double bytes, double bytes_per_token);

struct ReplyGaps {
    std::size_t count = 0;
    double p50_s = 0, p95_s = 0;
};
// Between a turn and the one before that left the deepest unit that both have.
ReplyGaps reply_gaps(const std::vector<TraceTurn>& turns);

}  // namespace hearth::cli
