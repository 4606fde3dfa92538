// The batch plan: decodes first, prefills in order within the budget, background last.
#include "cachenode/scheduler/batcher.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <utility>

#include "common/base/rng.h"

namespace hearth {
namespace {

using Slices = std::vector<std::pair<std::size_t, std::int32_t>>;

Slices plan(const std::vector<BatchCandidate>& candidates, BatchLimits limits) {
    Slices out;
    for (const PlannedSlice& slice : plan_batch(candidates, limits)) {
        out.emplace_back(slice.candidate, slice.tokens);
    }
    return out;
}

constexpr BatchCandidate kDecode{.pending = 1, .is_decoding = true};
BatchCandidate prefill(std::int64_t pending) {
    return {.pending = pending};
}
BatchCandidate background(std::int64_t pending) {
    return {.pending = pending, .is_background = true};
}

TEST(Batcher, DecodesFirstThenPrefillsInOrder) {
    const BatchLimits limits{.step_tokens_max = 100, .chunk_tokens_max = 60};
    EXPECT_EQ(plan({prefill(300), kDecode, prefill(10), prefill(50), kDecode}, limits),
              (Slices{{1, 1}, {4, 1}, {0, 60}, {2, 10}, {3, 28}}));
}

TEST(Batcher, DecodesNeverStarveAPrefill) {
    const BatchLimits limits{.step_tokens_max = 2, .chunk_tokens_max = 60};
    EXPECT_EQ(plan({kDecode, kDecode, kDecode, prefill(9)}, limits),
              (Slices{{0, 1}, {1, 1}, {2, 1}, {3, 1}}));
}

TEST(Batcher, DecodesWaitOneStepForTurnsOfWhichLittleIsLeft) {
    BatchLimits limits{.decodes_may_wait = true, .arriving_tokens_max = 60};
    EXPECT_EQ(plan({kDecode, prefill(50), kDecode, prefill(10)}, limits),
              (Slices{{1, 50}, {3, 10}}));
    EXPECT_EQ(plan({kDecode, prefill(50), prefill(11)}, limits),
              (Slices{{0, 1}, {1, 50}, {2, 11}}));
    EXPECT_EQ(plan({kDecode, background(50)}, limits), (Slices{{0, 1}, {1, 50}}));
    EXPECT_EQ(plan({kDecode}, limits), (Slices{{0, 1}}));
    limits.step_tokens_max = 40;  // They would not be done in this step.
    EXPECT_EQ(plan({kDecode, prefill(50)}, limits), (Slices{{0, 1}, {1, 39}}));
    limits = {.decodes_may_wait = false, .arriving_tokens_max = 60};
    EXPECT_EQ(plan({kDecode, prefill(50)}, limits), (Slices{{0, 1}, {1, 50}}));
}

TEST(Batcher, BackgroundWaitsForForegroundPrefills) {
    const BatchLimits limits{.step_tokens_max = 100, .chunk_tokens_max = 100};
    EXPECT_EQ(plan({background(50), prefill(3), kDecode}, limits), (Slices{{2, 1}, {1, 3}}));
    EXPECT_EQ(plan({background(500), kDecode}, limits), (Slices{{1, 1}, {0, 64}}));
    EXPECT_EQ(plan({background(50), background(50)}, limits), (Slices{{0, 50}, {1, 14}}));
}

TEST(Batcher, NothingPendingIsNothingToDo) {
    EXPECT_TRUE(plan({prefill(0), background(0), {.pending = 0, .is_decoding = true}}, {}).empty());
    EXPECT_TRUE(plan({}, {}).empty());
}

TEST(Batcher, HoldsItsRulesOnRandomInput) {
    constexpr std::uint64_t kSeed = 3;
    SCOPED_TRACE(kSeed);
    Rng rng(kSeed);
    for (int round = 0; round < 2'000; ++round) {
        std::vector<BatchCandidate> candidates(rng.below(12));
        for (BatchCandidate& c : candidates) {
            const std::uint64_t kind = rng.below(4);
            c = kind == 0 ? kDecode : prefill(static_cast<std::int64_t>(rng.below(90)));
            c.is_background = kind == 3;
        }
        const BatchLimits limits{.step_tokens_max = 1 + static_cast<std::int32_t>(rng.below(100)),
                                 .chunk_tokens_max = 1 + static_cast<std::int32_t>(rng.below(60)),
                                 .decodes_may_wait = rng.below(2) == 1};
        std::int64_t total = 0, decodes = 0;
        std::vector<bool> seen(candidates.size(), false);
        const auto slices = plan_batch(candidates, limits);
        for (const PlannedSlice& slice : slices) {
            const BatchCandidate& c = candidates[slice.candidate];
            EXPECT_FALSE(seen[slice.candidate]);
            seen[slice.candidate] = true;
            EXPECT_GE(slice.tokens, 1);
            EXPECT_LE(
                slice.tokens,
                c.is_decoding ? 1 : std::min<std::int64_t>(c.pending, limits.chunk_tokens_max));
            total += slice.tokens;
            if (c.is_decoding) ++decodes;
        }
        EXPECT_LE(total, std::max<std::int64_t>(limits.step_tokens_max, decodes + 1));
        const bool has_work = std::any_of(candidates.begin(), candidates.end(),
                                          [](const BatchCandidate& c) { return c.pending > 0; });
        EXPECT_EQ(!slices.empty(), has_work);
    }
}

}  // namespace
}  // namespace hearth
