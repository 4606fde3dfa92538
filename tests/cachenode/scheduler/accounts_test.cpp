// The book of turns: numbers of turns, outcomes, and the measured prefill speed.
#include "cachenode/scheduler/accounts.h"

#include <gtest/gtest.h>

#include "tests/cachenode/scheduler/chat_world.h"

namespace hearth {
namespace {

class AccountsTest : public ::testing::Test {
  protected:
    static TurnRequest turn_of(std::int64_t prompt, std::int64_t history) {
        TurnRequest turn;
        turn.session = SessionKey{1, 1};
        turn.prompt.assign(static_cast<std::size_t>(prompt), 'a');
        turn.history_tokens = history;
        return turn;
    }

    PrefixTree tree_{1, 64, 10};
    Accounts accounts_{testing::small_tokenizer(), SchedulerOptions{}};
};

TEST_F(AccountsTest, NumbersTurnsFromWhatItKnows) {
    EXPECT_EQ(accounts_.turn_number(turn_of(10, 0)), 1);
    EXPECT_EQ(accounts_.turn_number(turn_of(10, 5)), 2);
    accounts_.remember(turn_of(10, 5), 6, {{1, 2, 3}, 3}, MissReason::kDiverged);
    EXPECT_EQ(accounts_.turn_number(turn_of(10, 5)), 7);
    TurnRequest other = turn_of(10, 0);
    other.salt = "other";
    EXPECT_EQ(accounts_.turn_number(other), 1);
    other.session.reset();
    EXPECT_EQ(accounts_.turn_number(other), 1);
}

TEST_F(AccountsTest, EntersEveryTurnUnderOneOutcome) {
    accounts_.admit(turn_of(100, 0), {40}, tree_);  // First turn: 40 of a shared persona.
    accounts_.remember(turn_of(100, 0), 1, {turn_of(100, 0).prompt, 100}, MissReason::kDiverged);
    accounts_.admit(turn_of(120, 100), {100}, tree_);
    accounts_.admit(turn_of(120, 100), {60}, tree_);
    const TurnUsage missed = accounts_.admit(turn_of(120, 100), {0}, tree_);
    EXPECT_EQ(missed.missed, (std::map<std::string, std::int64_t>{{"evicted", 100}}));
    const SchedulerStats stats = accounts_.stats();
    EXPECT_EQ(stats.turns_first, 1);
    EXPECT_EQ(stats.turns_full_hit, 1);
    EXPECT_EQ(stats.turns_partial_hit, 1);
    EXPECT_EQ(stats.turns_miss, 1);
    EXPECT_EQ(stats.prompt_tokens_device, 200);
    EXPECT_EQ(stats.prompt_tokens_computed, 260);
    EXPECT_EQ(stats.reusable_tokens, 300);
    EXPECT_EQ(stats.reused_tokens, 160);
    EXPECT_EQ(stats.missed_tokens.at("evicted"), 140);
    EXPECT_EQ(stats.sessions, 1);
    EXPECT_EQ(stats.turns_full_ceiling, 3);
    TurnRequest declining = turn_of(120, 100);
    declining.cache_read = false;
    accounts_.admit(declining, {0}, tree_);
    EXPECT_EQ(accounts_.stats().turns_full_ceiling, 3);
    EXPECT_EQ(accounts_.stats().turns_miss, 2);
}

TEST_F(AccountsTest, MoreIsStoredOnlyForTheSameTurn) {
    const TurnRequest turn = turn_of(100, 0);
    accounts_.remember(turn, 1, {turn.prompt, 50}, MissReason::kDiverged);
    accounts_.stored_more(*turn.session, turn.salt, 2, 100);  // Another turn's.
    EXPECT_EQ(accounts_.admit(turn_of(120, 100), {0}, tree_).missed.at("diverged"), 50);
    accounts_.stored_more(*turn.session, turn.salt, 1, 500);
    EXPECT_EQ(accounts_.admit(turn_of(120, 100), {0}, tree_).missed.at("evicted"), 100);
}

TEST_F(AccountsTest, MeasuresThePrefillSpeedOfRecentSteps) {
    EXPECT_EQ(accounts_.stats().prefill_tokens_per_s, 0);
    accounts_.count_step(0.001, 0, 32);  // Decodes say nothing of it.
    accounts_.count_step(0.0, 512, 0);
    EXPECT_EQ(accounts_.stats().prefill_tokens_per_s, 0);
    accounts_.count_step(0.5, 500, 2);
    EXPECT_DOUBLE_EQ(accounts_.stats().prefill_tokens_per_s, 1000);
    for (int i = 0; i < 200; ++i) accounts_.count_step(0.25, 500, 0);
    EXPECT_NEAR(accounts_.stats().prefill_tokens_per_s, 2000, 1);
}

}  // namespace
}  // namespace hearth
