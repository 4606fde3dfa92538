// Eviction plan: which cached pages go when memory is short. Pure: values in, victims out.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "common/base/clock.h"

namespace hearth {

// A chat that came back once comes back again: a page that a turn >= 2 used last counts as this
// much younger (on a recorded hour of real chats worth 1 to 17 points of hit rate).
constexpr MonotonicNs kFollowUpBonus = 300 * kSecond;

// What speaks for a page.
struct PageWorth {
    MonotonicNs last_used = 0;
    MonotonicNs bonus = 0;       // Of its last use; 0 for a first turn's.
    MonotonicNs kept_until = 0;  // A soft pin: counts as used then. 0 = none.
    double rebuild_cost = 1.0;   // Of its tokens, relative to a whole page's ...
    double bytes = 1.0;          // ... and of its memory.
};

// Pages go in the order of their ranks. The bonus is scaled by what a byte of the page saves: a
// page that holds 3 tokens takes as much memory as one of 64, and is rebuilt at a twentieth of the
// price. An old page is never worth more than a young one by cost alone: then it would never go.
MonotonicNs eviction_rank(const PageWorth& worth);

// The bonus as it counts where pages that go were last used `residence` before: in full as long as
// memory turns over faster than it lasts. A pool that keeps all pages for longer does not need it,
// and would hold ended chats against new ones (measured on the same hour).
MonotonicNs faded_bonus(MonotonicNs bonus, MonotonicNs residence);

struct EvictionCandidate {
    std::int32_t parent = -1;  // Index in the same list of the page before it; -1 = none.
    bool pinned = false;       // It, or a page after it, is in use.
    MonotonicNs rank = 0;
    std::uint32_t use = 0;  // Order of uses, for those of the same rank.
};

// Indices of at most `pages` victims, in the order in which they must go: a page only after all
// pages that follow it, otherwise the lowest rank first. So a prefix that many chats share stays as
// long as one of them does. O(n + victims log n); PrefixTree::plan() gives the same from an index.
std::vector<std::int32_t> plan_eviction(std::span<const EvictionCandidate> candidates,
                                        std::int64_t pages);

}  // namespace hearth
