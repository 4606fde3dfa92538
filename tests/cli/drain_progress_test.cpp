// What a drain says: what is left, the bar, when it is at rest.
#include "cli/drain_progress.h"

#include <gtest/gtest.h>

namespace hearth::cli {
namespace {

TEST(DrainProgress, WordsCountAndSayWhoHasNotHeard) {
    EXPECT_EQ(words_of({1, 3, true, true}), "1 turn running, 3 sessions not moved yet");
    EXPECT_EQ(words_of({2, 1, true, true}), "2 turns running, 1 session not moved yet");
    EXPECT_EQ(words_of({0, 0, true, false}), "0 turns running, the node has not heard of it yet");
    EXPECT_EQ(words_of({0, 4, false, false}), "0 turns running, 4 sessions not moved yet")
        << "a foreign server is told nothing";
}

TEST(DrainProgress, ItRestsWhenNothingIsLeftAndTheNodeKnowsWhy) {
    EXPECT_TRUE(is_at_rest({0, 0, true, true}));
    EXPECT_TRUE(is_at_rest({0, 0, false, false}));
    EXPECT_FALSE(is_at_rest({0, 0, true, false}));
    EXPECT_FALSE(is_at_rest({1, 0, true, true}));
    EXPECT_FALSE(is_at_rest({0, 1, true, true}));
}

TEST(DrainProgress, TheBarFillsAsSessionsLeave) {
    EXPECT_EQ(drain_bar(0, 0), "") << "nothing was there to move";
    EXPECT_EQ(drain_bar(8, 8), "[--------------------] ");
    EXPECT_EQ(drain_bar(2, 8), "[###############-----] ");
    EXPECT_EQ(drain_bar(1, 1000), "[###################-] ") << "full only when all have moved";
    EXPECT_EQ(drain_bar(0, 8), "[####################] ");
}

}  // namespace
}  // namespace hearth::cli
