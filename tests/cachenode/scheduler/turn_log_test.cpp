// What is kept of sessions' turns, and how much at most.
#include "cachenode/scheduler/turn_log.h"

#include <gtest/gtest.h>

namespace hearth {
namespace {

LoggedTurn turn(std::int64_t number) {
    return {number, 0, {}};
}

TEST(TurnLog, KeepsTheLastTurnsOfASession) {
    TurnLog log;
    for (std::int64_t i = 1; i <= 10; ++i) log.add({1, 1}, turn(i));
    log.add({1, 2}, turn(1));
    const auto turns = log.find({1, 1});
    ASSERT_EQ(turns.size(), 8u);
    EXPECT_EQ(turns.front().number, 3);
    EXPECT_EQ(turns.back().number, 10);
    EXPECT_EQ(log.find({1, 2}).size(), 1u);
    EXPECT_TRUE(log.find({1, 3}).empty());
    log.erase({1, 1});
    log.erase({1, 1});
    EXPECT_TRUE(log.find({1, 1}).empty());
    EXPECT_EQ(log.find({1, 2}).size(), 1u);
}

TEST(TurnLog, ForgetsTheSessionsThatHadNoTurnForLongest) {
    TurnLog log;
    log.add({0, 0}, turn(1));
    log.add({0, 1}, turn(1));
    for (std::uint64_t i = 2; i < 4'096; ++i) log.add({0, i}, turn(1));
    log.add({0, 0}, turn(2));
    log.add({9, 9}, turn(1));
    EXPECT_EQ(log.find({0, 0}).size(), 2u);
    EXPECT_TRUE(log.find({0, 1}).empty());
    EXPECT_EQ(log.find({0, 2}).size(), 1u);
}

}  // namespace
}  // namespace hearth
