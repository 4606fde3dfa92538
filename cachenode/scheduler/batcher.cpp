// Fills a step's token budget: decodes, then prefills, then background work.
#include "cachenode/scheduler/batcher.h"

#include <algorithm>

#include "common/base/check.h"

namespace hearth {
namespace {

bool decodes_may_wait(std::span<const BatchCandidate> candidates, const BatchLimits& limits) {
    std::int64_t arriving = 0;
    for (const BatchCandidate& c : candidates)
        if (!c.is_decoding && !c.is_background) arriving += c.pending;
    const std::int64_t most = std::min(limits.arriving_tokens_max, limits.step_tokens_max);
    return limits.decodes_may_wait && arriving > 0 && arriving <= most;
}

}  // namespace

std::vector<PlannedSlice> plan_batch(std::span<const BatchCandidate> candidates,
                                     const BatchLimits& limits) {
    CHECK(limits.step_tokens_max > 0 && limits.chunk_tokens_max > 0);
    std::vector<PlannedSlice> plan;
    std::int64_t budget = limits.step_tokens_max;
    const bool decodes_wait = decodes_may_wait(candidates, limits);
    for (std::size_t i = 0; !decodes_wait && i < candidates.size(); ++i) {
        if (!candidates[i].is_decoding || candidates[i].pending == 0) continue;
        CHECK(candidates[i].pending == 1);
        plan.push_back({i, 1});
        --budget;
    }
    budget = std::max<std::int64_t>(budget, 1);
    bool has_foreground = false;
    const auto add_prefills = [&](bool background) {
        for (std::size_t i = 0; i < candidates.size() && budget > 0; ++i) {
            const BatchCandidate& c = candidates[i];
            if (c.is_decoding || c.pending == 0 || c.is_background != background) continue;
            const auto tokens =
                std::min({c.pending, std::int64_t{limits.chunk_tokens_max}, budget});
            plan.push_back({i, static_cast<std::int32_t>(tokens)});
            budget -= tokens;
            has_foreground = has_foreground || !background;
        }
    };
    add_prefills(false);
    if (has_foreground) return plan;
    budget = std::min<std::int64_t>(budget, limits.background_tokens_max);
    add_prefills(true);
    return plan;
}

}  // namespace hearth
