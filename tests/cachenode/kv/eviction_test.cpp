// The eviction plan against hand-made trees and against a slow reference.
#include "cachenode/kv/eviction.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "common/base/rng.h"

namespace hearth {
namespace {

using Plan = std::vector<std::int32_t>;

EvictionCandidate page(std::int32_t parent, MonotonicNs last_used) {
    return {.parent = parent, .rank = last_used};
}

TEST(EvictionPlan, TakesTheLongestUnusedFirst) {
    const std::vector<EvictionCandidate> pages = {page(-1, 30), page(-1, 10), page(-1, 20)};
    EXPECT_EQ(plan_eviction(pages, 2), (Plan{1, 2}));
    EXPECT_EQ(plan_eviction(pages, 0), Plan{});
    EXPECT_EQ(plan_eviction(pages, 9), (Plan{1, 2, 0}));
}

TEST(EvictionPlan, APageGoesOnlyAfterThoseThatFollowIt) {
    // 0 -> 1 -> 2 and 0 -> 3; the root page is the oldest of all.
    const std::vector<EvictionCandidate> pages = {page(-1, 1), page(0, 5), page(1, 9), page(0, 7)};
    EXPECT_EQ(plan_eviction(pages, 4), (Plan{3, 2, 1, 0}));
}

TEST(EvictionPlan, PinnedPagesStay) {
    std::vector<EvictionCandidate> pages = {page(-1, 1), page(0, 2), page(0, 3)};
    pages[0].pinned = pages[1].pinned = true;
    EXPECT_EQ(plan_eviction(pages, 3), (Plan{2}));
}

TEST(EvictionRank, FollowUpsCountAsYounger) {
    const MonotonicNs follow_up = eviction_rank({.last_used = 100, .bonus = kFollowUpBonus});
    EXPECT_GT(follow_up, eviction_rank({.last_used = 100 + kFollowUpBonus - 1}));
    EXPECT_LT(follow_up, eviction_rank({.last_used = 101 + kFollowUpBonus}));
}

TEST(EvictionRank, TheBonusIsWeighedByWhatAByteSaves) {
    const PageWorth whole = {.last_used = 5, .bonus = 640};
    PageWorth tail = whole;
    tail.rebuild_cost = 3.0 / 64;
    EXPECT_EQ(eviction_rank(whole), 645);
    EXPECT_EQ(eviction_rank(tail), 35);
    tail.bytes = 2;
    EXPECT_EQ(eviction_rank(tail), 20);
    tail.rebuild_cost = 100;  // However dear: never more than the bonus.
    EXPECT_EQ(eviction_rank(tail), 645);
    tail.last_used = 700;
    EXPECT_GT(eviction_rank(tail), eviction_rank(whole));
}

TEST(EvictionRank, TheBonusFadesInAPoolThatKeepsPagesLonger) {
    EXPECT_EQ(faded_bonus(300, 0), 300);
    EXPECT_EQ(faded_bonus(300, 300), 300);
    EXPECT_EQ(faded_bonus(300, 600), 150);
    EXPECT_EQ(faded_bonus(0, 600), 0);
}

TEST(EvictionRank, ASoftPinCountsAsALaterUse) {
    EXPECT_EQ(eviction_rank({.last_used = 5, .bonus = 10, .kept_until = 40}), 40);
    EXPECT_EQ(eviction_rank({.last_used = 50, .bonus = 10, .kept_until = 40}), 60);
}

TEST(EvictionPlan, UsesOfOneInstantGoInOrder) {
    std::vector<EvictionCandidate> pages = {page(-1, 5), page(-1, 5), page(-1, 5)};
    pages[0].use = 3;
    pages[1].use = 1;
    pages[2].use = 2;
    EXPECT_EQ(plan_eviction(pages, 2), (Plan{1, 2}));
}

// Again and again the best among those that are leaves now, found by looking at all.
Plan slow_plan(const std::vector<EvictionCandidate>& pages, std::int64_t count) {
    Plan plan;
    std::vector<bool> gone(pages.size(), false);
    while (std::ssize(plan) < count) {
        std::int32_t best = -1;
        MonotonicNs best_age = 0;
        for (std::size_t i = 0; i < pages.size(); ++i) {
            if (gone[i] || pages[i].pinned) continue;
            bool is_leaf = true;
            for (std::size_t j = 0; j < pages.size(); ++j) {
                if (!gone[j] && pages[j].parent == static_cast<std::int32_t>(i)) is_leaf = false;
            }
            if (!is_leaf) continue;
            const MonotonicNs age = pages[i].rank;
            const bool is_better =
                best < 0 || age < best_age ||
                (age == best_age && pages[i].use < pages[static_cast<std::size_t>(best)].use);
            if (is_better) {
                best = static_cast<std::int32_t>(i);
                best_age = age;
            }
        }
        if (best < 0) break;
        gone[static_cast<std::size_t>(best)] = true;
        plan.push_back(best);
    }
    return plan;
}

TEST(EvictionPlan, EqualsTheSlowPlanOnRandomTrees) {
    constexpr std::uint64_t kSeed = 5;
    SCOPED_TRACE(kSeed);
    Rng rng(kSeed);
    for (int round = 0; round < 300; ++round) {
        std::vector<EvictionCandidate> pages(1 + rng.below(40));
        for (std::size_t i = 0; i < pages.size(); ++i) {
            pages[i].parent = static_cast<std::int32_t>(rng.below(i + 1)) - 1;
            pages[i].rank = static_cast<MonotonicNs>(rng.below(8));
            pages[i].use = static_cast<std::uint32_t>(i * 7919 % 41);
        }
        for (std::size_t pins = rng.below(3); pins > 0; --pins) {
            auto at = static_cast<std::int32_t>(rng.below(pages.size()));
            for (; at >= 0; at = pages[static_cast<std::size_t>(at)].parent) {
                pages[static_cast<std::size_t>(at)].pinned = true;
            }
        }
        const auto count = static_cast<std::int64_t>(rng.below(pages.size() + 2));
        ASSERT_EQ(plan_eviction(pages, count), slow_plan(pages, count)) << "round " << round;
    }
}

}  // namespace
}  // namespace hearth
