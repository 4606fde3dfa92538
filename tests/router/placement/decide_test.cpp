// Decide: which rule wins, and the numbers that a decision carries.
#include "router/placement/decide.h"

#include <gtest/gtest.h>

#include <map>

namespace hearth {
namespace {

constexpr SessionKey kKey{0, 0};

// Three nodes; home, heir and third are seats in the order of kKey.
class DecideTest : public testing::Test {
  protected:
    DecideTest() {
        std::vector<Seat> seats;
        for (const char* id : {"a", "b", "c"}) seats.push_back({node_hash(id), 1.0});
        table_ = SeatTable(seats);
        const auto order = table_.order(kKey);
        home_ = order[0], heir_ = order[1], third_ = order[2];
        for (const std::uint32_t seat : order) states_[seat] = SeatState{true, 0, 0, 1'000};
    }
    Decision run() {
        return decide(
            table_, kKey, situation_, [this](std::uint32_t seat) { return states_.at(seat); }, 100);
    }
    void expect(std::uint32_t seat, Reason reason) {
        const Decision decision = run();
        ASSERT_TRUE(decision.choice);
        EXPECT_EQ(decision.choice->seat, seat);
        EXPECT_STREQ(to_string(decision.choice->reason), to_string(reason));
        EXPECT_EQ(decision.home, home_);
    }
    void hold(std::uint32_t seat, std::int64_t tokens = 0) {
        situation_.bound = seat;
        situation_.tokens = tokens;
    }

    SeatTable table_;
    std::uint32_t home_ = 0, heir_ = 0, third_ = 0;
    std::map<std::uint32_t, SeatState> states_;
    Situation situation_;
};

TEST_F(DecideTest, NobodyMeansNothing) {
    const Decision none = decide(
        {}, kKey, {}, [](std::uint32_t) { return SeatState{}; }, 0);
    EXPECT_FALSE(none.choice);
    EXPECT_FALSE(none.home);
    for (auto& [seat, state] : states_) state.usable = false;
    EXPECT_FALSE(run().choice);
    EXPECT_EQ(run().home, home_);
}

TEST_F(DecideTest, FirstTurnsGoToTheLessLoadedOfTwo) {
    states_[home_].load = 1;
    expect(home_, Reason::kHome);  // Not known to be a first turn.
    situation_.first_turn = true;
    expect(heir_, Reason::kHeir);
    EXPECT_EQ(run().rival, heir_);
    EXPECT_EQ(run().load, 1);
    states_[heir_].load = 1;
    expect(home_, Reason::kHome);
    states_[heir_] = SeatState{};
    expect(home_, Reason::kHome);
    states_[home_] = SeatState{};
    expect(third_, Reason::kHeir);
}

TEST_F(DecideTest, TheHolderKeepsItsSession) {
    situation_.first_turn = true;  // Of no meaning when somebody holds it.
    hold(home_);
    expect(home_, Reason::kHome);
    hold(third_);
    states_[third_].load = 9;
    expect(third_, Reason::kBound);
    situation_.moved = true;
    expect(third_, Reason::kMoved);
    states_[third_].usable = false;
    situation_.first_turn = false;
    expect(home_, Reason::kHome);
    states_[home_].usable = false;
    expect(heir_, Reason::kHeir);
}

TEST_F(DecideTest, ADrainingHoldersSessionsMove) {
    situation_.holder_drains = true;
    expect(home_, Reason::kMoved);
    states_[home_].usable = false;
    expect(heir_, Reason::kMoved);
}

TEST_F(DecideTest, APinIsAWish) {
    hold(home_);
    situation_.pinned = third_;
    expect(third_, Reason::kPinned);
    states_[third_].usable = false;
    expect(home_, Reason::kHome);
}

TEST_F(DecideTest, SpillsWhenWaitingCostsMoreThanRebuilding) {
    hold(home_, 2'000);
    states_[home_].wait_ms = 2'099;  // The rebuild takes 2,000 ms, the margin is 100.
    expect(home_, Reason::kHome);
    states_[home_].wait_ms = 2'101;
    expect(heir_, Reason::kSpill);
    const Decision decision = run();
    EXPECT_EQ(decision.rival, heir_);
    EXPECT_EQ(decision.wait_ms, 2'101);
    EXPECT_EQ(decision.rival_wait_ms, 0);
    EXPECT_EQ(decision.rebuild_ms, 2'000);
    // The heir's own queue and speed count, and the better of the two next in order is taken.
    states_[heir_].wait_ms = 2;
    expect(third_, Reason::kSpill);
    states_[third_].wait_ms = 500;
    expect(home_, Reason::kHome);
    states_[third_].prefill_tokens_per_s = 2'000;
    expect(third_, Reason::kSpill);
}

TEST_F(DecideTest, NoSpillOnAGuess) {
    states_[home_].wait_ms = 1e6;
    hold(home_, 0);
    expect(home_, Reason::kHome);
    hold(home_, 10);
    for (const std::uint32_t seat : {heir_, third_}) states_[seat].prefill_tokens_per_s = 0;
    expect(home_, Reason::kHome);
    for (const std::uint32_t seat : {heir_, third_}) states_[seat] = SeatState{};
    expect(home_, Reason::kHome);
    states_[heir_] = SeatState{true, 0, 0, 1'000};
    states_[home_].wait_ms.reset();
    expect(home_, Reason::kHome);
}

TEST_F(DecideTest, ASpilledSessionComesBackOnceTheWaitHasGone) {
    hold(heir_, 5'000);
    situation_.left = home_;
    situation_.left_tokens_missing = 50;  // 50 ms.
    expect(home_, Reason::kHome);
    states_[home_].wait_ms = 60;
    expect(heir_, Reason::kBound);
    states_[heir_].wait_ms = 20;
    expect(home_, Reason::kHome);
    situation_.left.reset();
    states_[home_].wait_ms = 0;
    expect(heir_, Reason::kBound);
    situation_.left = third_;
    expect(third_, Reason::kMoved);
}

TEST_F(DecideTest, AHomeThatJoinedLaterTakesIdleSessions) {
    hold(third_, 5'000);
    expect(third_, Reason::kBound);
    situation_.may_come_home = true;
    expect(home_, Reason::kHome);
    states_[home_].usable = false;
    expect(third_, Reason::kBound);
}

}  // namespace
}  // namespace hearth
