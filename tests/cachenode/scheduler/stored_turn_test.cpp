// What a turn leaves for the next, for the ways in which re-tokenising can differ.
#include "cachenode/scheduler/stored_turn.h"

#include <gtest/gtest.h>

namespace hearth {
namespace {

using Ids = std::vector<engine::TokenId>;

TEST(StoredTurn, WithoutCanonicalIdsItIsWhatWasComputed) {
    const StoredTurn left = stored_turn(Ids{1, 2, 3}, {}, 0);
    EXPECT_EQ(left.tokens, (Ids{1, 2, 3}));
    EXPECT_EQ(left.stored, 3);
}

TEST(StoredTurn, TheSameIdsNeedNothing) {
    // 9 8 closes the turn; the closing was not computed, so it is not remembered.
    const StoredTurn left = stored_turn(Ids{1, 2, 3}, {1, 2, 3, 9, 8}, 2);
    EXPECT_EQ(left.tokens, (Ids{1, 2, 3}));
    EXPECT_EQ(left.stored, 3);
    const StoredTurn cut = stored_turn(Ids{1, 2, 3}, {1, 2, 3, 4, 9, 8}, 2);  // 4 has no KV yet.
    EXPECT_EQ(cut.tokens, (Ids{1, 2, 3}));
}

TEST(StoredTurn, OtherIdsReplaceTheReplyUpToItsText) {
    const StoredTurn left = stored_turn(Ids{1, 2, 5, 6, 7}, {1, 2, 56, 7, 9, 8}, 2);
    EXPECT_EQ(left.tokens, (Ids{1, 2, 56, 7}));
    EXPECT_EQ(left.stored, 2);
}

TEST(StoredTurn, ADroppedStopStringLeavesTheTextBeforeIt) {
    const StoredTurn left = stored_turn(Ids{1, 2, 5, 6}, {1, 2, 5, 9, 8}, 2);
    EXPECT_EQ(left.tokens, (Ids{1, 2, 5}));
    EXPECT_EQ(left.stored, 3);
}

TEST(StoredTurn, AClosingThatBeginsLikeTheReplyIsNoTrouble) {
    const StoredTurn left = stored_turn(Ids{1, 9, 7}, {1, 9, 8}, 2);
    EXPECT_EQ(left.tokens, (Ids{1, 9}));
    EXPECT_EQ(left.stored, 2);
}

}  // namespace
}  // namespace hearth
