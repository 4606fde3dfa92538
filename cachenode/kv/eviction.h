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

struct EvictionCandidate {
    std::int32_t parent = -1;  // Index in the same list of the page before it; -1 = none.
    bool pinned = false;       // It, or a page after it, is in use.
    bool follow_up = false;    // Last used by a turn >= 2.
    MonotonicNs last_used = 0;
    std::uint64_t use = 0;  // Order of uses, for those of the same instant.
};

// Indices of at most `pages` victims, in the order in which they must go: a page only after all
// pages that follow it, otherwise the longest unused first. O(n + victims log n).
std::vector<std::int32_t> plan_eviction(std::span<const EvictionCandidate> candidates,
                                        std::int64_t pages);

}  // namespace hearth
