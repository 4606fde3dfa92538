// The ledger forgets the longest unused first, by count and by bytes, and keeps salts apart.
#include "cachenode/kv/session_ledger.h"

#include <gtest/gtest.h>

namespace hearth {
namespace {

SessionTurn turn_of(std::size_t tokens, std::int64_t turn = 1) {
    return {std::vector<engine::TokenId>(tokens, 7), static_cast<std::int64_t>(tokens),
            MissReason::kCapacity, turn};
}

TEST(SessionLedger, FindsWhatWasPut) {
    SessionLedger ledger(10, 1 << 20);
    EXPECT_EQ(ledger.find({1, 1}, ""), nullptr);
    ledger.put({1, 1}, "", turn_of(5));
    ledger.put({1, 1}, "", turn_of(9, 2));
    ASSERT_NE(ledger.find({1, 1}, ""), nullptr);
    EXPECT_EQ(ledger.find({1, 1}, "")->tokens.size(), 9u);
    EXPECT_EQ(ledger.find({1, 1}, "")->turn, 2);
    EXPECT_EQ(ledger.find({1, 1}, "other"), nullptr);
    EXPECT_EQ(ledger.sessions(), 1);
}

TEST(SessionLedger, ForgetsTheLongestUnusedSession) {
    SessionLedger ledger(3, 1 << 20);
    for (std::uint64_t i = 1; i <= 3; ++i) ledger.put({i, 0}, "", turn_of(4));
    EXPECT_NE(ledger.find({1, 0}, ""), nullptr);  // Used now; 2 is the oldest.
    ledger.put({4, 0}, "", turn_of(4));
    EXPECT_EQ(ledger.find({2, 0}, ""), nullptr);
    EXPECT_NE(ledger.find({1, 0}, ""), nullptr);
    EXPECT_EQ(ledger.sessions(), 3);
}

TEST(SessionLedger, StaysWithinItsBytes) {
    constexpr std::int64_t kBytes = 20'000;
    SessionLedger ledger(1'000, kBytes);
    for (std::uint64_t i = 0; i < 300; ++i) {
        ledger.put({i % 40, 0}, i % 2 == 0 ? "a" : "b", turn_of(i * 37 % 700));
        ASSERT_LE(ledger.bytes(), kBytes);
    }
    EXPECT_GT(ledger.sessions(), 3);
    ledger.put({1000, 0}, "", turn_of(100'000));  // Alone too large: nothing is kept.
    EXPECT_EQ(ledger.sessions(), 0);
    EXPECT_EQ(ledger.bytes(), 0);
}

}  // namespace
}  // namespace hearth
