// Takes leaves off the tree, oldest first, with a heap of those that are leaves by now.
#include "cachenode/kv/eviction.h"

#include <queue>
#include <tuple>

namespace hearth {

std::vector<std::int32_t> plan_eviction(std::span<const EvictionCandidate> candidates,
                                        std::int64_t pages) {
    std::vector<std::int32_t> children(candidates.size(), 0);
    for (const EvictionCandidate& c : candidates) {
        if (c.parent >= 0) ++children[static_cast<std::size_t>(c.parent)];
    }
    using Ranked = std::tuple<MonotonicNs, std::uint64_t, std::int32_t>;
    std::priority_queue<Ranked, std::vector<Ranked>, std::greater<>> leaves;
    const auto consider = [&](std::int32_t index) {
        const EvictionCandidate& c = candidates[static_cast<std::size_t>(index)];
        if (c.pinned || children[static_cast<std::size_t>(index)] > 0) return;
        leaves.emplace(c.last_used + (c.follow_up ? kFollowUpBonus : 0), c.use, index);
    };
    for (std::size_t i = 0; i < candidates.size(); ++i) consider(static_cast<std::int32_t>(i));

    std::vector<std::int32_t> victims;
    while (static_cast<std::int64_t>(victims.size()) < pages && !leaves.empty()) {
        const std::int32_t victim = std::get<2>(leaves.top());
        leaves.pop();
        victims.push_back(victim);
        const std::int32_t parent = candidates[static_cast<std::size_t>(victim)].parent;
        if (parent < 0) continue;
        if (--children[static_cast<std::size_t>(parent)] == 0) consider(parent);
    }
    return victims;
}

}  // namespace hearth
