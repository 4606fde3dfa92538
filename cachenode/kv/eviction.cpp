// Takes leaves off the tree, lowest rank first, with a heap of those that are leaves by now.
#include "cachenode/kv/eviction.h"

#include <algorithm>
#include <queue>
#include <tuple>

namespace hearth {

MonotonicNs eviction_rank(const PageWorth& worth) {
    const double weight = std::clamp(worth.rebuild_cost / worth.bytes, 0.0, 1.0);
    const auto bonus = static_cast<MonotonicNs>(static_cast<double>(worth.bonus) * weight);
    return std::max(worth.last_used + bonus, worth.kept_until);
}

MonotonicNs faded_bonus(MonotonicNs bonus, MonotonicNs residence) {
    if (residence <= bonus) return bonus;
    const double share = static_cast<double>(bonus) / static_cast<double>(residence);
    return static_cast<MonotonicNs>(static_cast<double>(bonus) * share);
}

std::vector<std::int32_t> plan_eviction(std::span<const EvictionCandidate> candidates,
                                        std::int64_t pages) {
    std::vector<std::int32_t> children(candidates.size(), 0);
    for (const EvictionCandidate& c : candidates) {
        if (c.parent >= 0) ++children[static_cast<std::size_t>(c.parent)];
    }
    using Ranked = std::tuple<MonotonicNs, std::uint32_t, std::int32_t>;
    std::priority_queue<Ranked, std::vector<Ranked>, std::greater<>> leaves;
    const auto consider = [&](std::int32_t index) {
        const EvictionCandidate& c = candidates[static_cast<std::size_t>(index)];
        if (c.pinned || children[static_cast<std::size_t>(index)] > 0) return;
        leaves.emplace(c.rank, c.use, index);
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
