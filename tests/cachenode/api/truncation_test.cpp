// Truncation: the system prompt and whole turns stay, and the point moves by steps only.
#include "cachenode/api/truncation.h"

#include <gtest/gtest.h>

#include "common/base/rng.h"

namespace hearth {
namespace {

using engine::Role;
using Sizes = std::vector<MessageSize>;

TEST(Truncation, DropsWholeTurnsBehindTheSystemPrompt) {
    const Sizes chat = {{Role::kSystem, 50}, {Role::kUser, 10},      {Role::kAssistant, 30},
                        {Role::kUser, 20},   {Role::kAssistant, 40}, {Role::kUser, 15}};
    EXPECT_EQ(plan_truncation(chat, 165, 1).count(), 0u);  // It fits.
    const DroppedTurns one = plan_truncation(chat, 164, 1);
    EXPECT_EQ(one.first, 1u);
    EXPECT_EQ(one.end, 3u);
    EXPECT_EQ(one.tokens, 40);
    EXPECT_EQ(plan_truncation(chat, 124, 1).end, 5u);
    EXPECT_EQ(plan_truncation(chat, 164, 41).end, 5u) << "on to a whole step";
    EXPECT_EQ(plan_truncation(chat, 1, 1).end, 5u) << "the last question stays";
    EXPECT_EQ(plan_truncation(chat, 165, 40, 1).end, 3u) << "an extra step";
    EXPECT_EQ(plan_truncation({}, 1, 1).count(), 0u);
}

// Hits of a dialogue that grows far beyond its budget: all tokens of the prompt before in front of
// the first difference.
double hit_rate(std::int64_t step) {
    Rng rng(7);
    Sizes chat = {{Role::kSystem, 500}};
    std::size_t last_end = 1;
    std::int64_t last_total = 0, prompts = 0, hits = 0;
    for (int turn = 0; turn < 400; ++turn) {
        chat.push_back({Role::kUser, 20 + static_cast<std::int64_t>(rng.below(60))});
        const DroppedTurns dropped = plan_truncation(chat, 8'000, step);
        std::int64_t total = -dropped.tokens;
        for (const MessageSize& message : chat) total += message.tokens;
        EXPECT_LE(total, 8'000);
        EXPECT_EQ(dropped.first, 1u);
        const std::size_t end = dropped.count() > 0 ? dropped.end : 1;
        if (turn > 60) {
            prompts += total;
            hits += end == last_end ? last_total : 500;
        }
        last_end = end;
        const std::int64_t reply = 40 + static_cast<std::int64_t>(rng.below(100));
        chat.push_back({Role::kAssistant, reply});
        last_total = total + reply;
    }
    return static_cast<double>(hits) / static_cast<double>(prompts);
}

TEST(Truncation, StepsKeepThePrefixWhereASlidingWindowDoesNot) {
    EXPECT_LT(hit_rate(1), 0.35);
    EXPECT_GT(hit_rate(2'048), 0.90);
}

}  // namespace
}  // namespace hearth
