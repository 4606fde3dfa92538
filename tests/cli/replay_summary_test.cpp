// The figures of a replay from turns and counters: rates, ceilings, moved sessions, medians.
#include <gtest/gtest.h>

#include "cli/replay.h"

namespace hearth::cli {
namespace {

ReplayTurn turn(std::size_t chat, std::int64_t number, std::string node, std::int64_t prompt,
                std::int64_t cached) {
    ReplayTurn t;
    t.chat = chat;
    t.turn = number;
    t.result.node = std::move(node);
    t.result.prompt_tokens = prompt;
    t.result.cached_tokens = cached;
    t.result.completion_tokens = 11;
    t.result.ttft_ms = static_cast<double>(10 * number);
    return t;
}

const std::vector<Chat> kTwoChats = {{"a", "", {"x", "y"}}, {"b", "", {"x", "y"}}};

TEST(ReplaySummary, RatesFromWhatTheClientSaw) {
    // Turn 1 of 100 tokens and a reply of 11 leaves KV of 110; turn 2 reuses all of it in chat a,
    // and 55 of it in chat b.
    const std::vector<ReplayTurn> turns = {turn(0, 1, "n", 100, 0), turn(1, 1, "n", 100, 0),
                                           turn(0, 2, "n", 130, 110), turn(1, 2, "n", 130, 55)};
    const ReplaySummary s = summarize(kTwoChats, turns, {});
    EXPECT_DOUBLE_EQ(s.inter_turn_hit_rate.value(), 165.0 / 220.0);
    EXPECT_DOUBLE_EQ(s.inter_turn_ceiling.value(), 1.0);
    EXPECT_DOUBLE_EQ(s.token_hit_rate.value(), 165.0 / 460.0);
    EXPECT_DOUBLE_EQ(s.full_hit_rate.value(), 0.5);
    EXPECT_DOUBLE_EQ(s.full_hit_ceiling.value(), 1.0);
    EXPECT_EQ(s.sessions, 2);
    EXPECT_EQ(s.turns, 4);
    EXPECT_EQ(s.moved_sessions, 0);
    EXPECT_EQ(s.errors, 0);
}

TEST(ReplaySummary, ReusableIsCappedByThePromptButItsLastToken) {
    const std::vector<ReplayTurn> turns = {turn(0, 1, "n", 100, 0), turn(0, 2, "n", 50, 49)};
    EXPECT_DOUBLE_EQ(summarize(kTwoChats, turns, {}).inter_turn_hit_rate.value(), 1.0);
}

TEST(ReplaySummary, CountsMovedSessionsOnceAndErrorsApart) {
    std::vector<ReplayTurn> turns = {turn(0, 1, "n", 9, 0), turn(0, 2, "m", 9, 0),
                                     turn(0, 3, "n", 9, 0), turn(1, 1, "m", 9, 0)};
    turns.push_back(turn(1, 2, "", 0, 0));
    turns.back().result.error = "HTTP 503";
    const ReplaySummary s = summarize(kTwoChats, turns, {});
    EXPECT_EQ(s.moved_sessions, 1);
    EXPECT_EQ(s.errors, 1);
}

TEST(ReplaySummary, NodeCountersWinAndCeilingsLeaveOutWhatNoCacheMends) {
    NodeCounters c;
    c.prompt = 1000;
    c.cached = 600;
    c.reusable = 700;
    c.reused = 600;
    c.beyond_cache = 35;
    c.turns_full = 8;
    c.turns_partial = 1;
    c.turns_missed = 1;
    c.turns_full_ceiling = 9;
    const ReplaySummary s = summarize(kTwoChats, {}, c);
    EXPECT_DOUBLE_EQ(s.inter_turn_hit_rate.value(), 600.0 / 700.0);
    EXPECT_DOUBLE_EQ(s.inter_turn_ceiling.value(), 1.0 - 35.0 / 700.0);
    EXPECT_DOUBLE_EQ(s.token_hit_rate.value(), 0.6);
    EXPECT_DOUBLE_EQ(s.token_ceiling.value(), 0.665);
    EXPECT_DOUBLE_EQ(s.full_hit_rate.value(), 0.8);
    EXPECT_DOUBLE_EQ(s.full_hit_ceiling.value(), 0.9);
}

TEST(ReplaySummary, WithoutAFollowUpThereIsNeitherRateNorCeiling) {
    const ReplaySummary s = summarize(kTwoChats, {turn(0, 1, "n", 100, 0)}, {});
    EXPECT_EQ(s.follow_ups, 0);
    for (const auto& figure :
         {s.inter_turn_hit_rate, s.inter_turn_ceiling, s.full_hit_rate, s.full_hit_ceiling})
        EXPECT_FALSE(figure.has_value());
    EXPECT_EQ(s.token_hit_rate, 0) << "of 100 prompt tokens none was cached";
    EXPECT_FALSE(summarize(kTwoChats, {}, {}).token_hit_rate.has_value());
}

// Design §11: the ceiling is what an infinite, never failing cache would have given. 100 reusable
// tokens of a prompt of 200, of which 60 were reused and 40 missed for one reason.
TEST(ReplaySummary, WhichMissesTheCeilingsLeaveOut) {
    const struct {
        const char* reason;
        double ceiling;
    } kTable[] = {{"evicted", 1.0},  {"capacity", 1.0}, {"diverged", 1.0},
                  {"rerouted", 1.0}, {"expired", 1.0},  {"node_lost", 1.0},
                  {"corrupt", 1.0},  {"declined", 0.6}, {"salt", 0.6}};
    for (const auto& [reason, ceiling] : kTable) {
        const std::string text =
            "hearth_engine_prompt_tokens_total{source=\"computed\"} 140\n"
            "hearth_engine_prompt_tokens_total{source=\"device\"} 60\n"
            "hearth_engine_reusable_tokens_total 100\n"
            "hearth_engine_reused_tokens_total 60\n"
            "hearth_engine_missed_tokens_total{reason=\"" +
            std::string(reason) + "\"} 40\n";
        const ReplaySummary s = summarize(kTwoChats, {}, read_counters({text}));
        EXPECT_DOUBLE_EQ(s.inter_turn_hit_rate.value(), 0.6) << reason;
        EXPECT_DOUBLE_EQ(s.inter_turn_ceiling.value(), ceiling) << reason;
        EXPECT_DOUBLE_EQ(s.token_ceiling.value(), ceiling / 2) << reason;
    }
}

TEST(ReplaySummary, ExpectationsThatAreNotMetAreNamedWithTheirFigures) {
    ReplayOptions nothing, both;
    both.hit_rate_min = 0.95;
    both.moved_max = 0;
    ReplaySummary s;
    s.inter_turn_hit_rate = 0.95;
    EXPECT_TRUE(unmet_expectations(both, s).empty());
    s.inter_turn_hit_rate = 0.9499;
    s.moved_sessions = 1;
    EXPECT_TRUE(unmet_expectations(nothing, s).empty());
    const std::vector<std::string> lines = unmet_expectations(both, s);
    ASSERT_EQ(lines.size(), 2U);
    EXPECT_EQ(lines[0], "inter-turn hit rate 0.9499 is below the expected 0.9500");
    EXPECT_EQ(lines[1], "1 sessions moved; at most 0 were expected to");
    s.inter_turn_hit_rate.reset();  // Nothing to judge is no success.
    EXPECT_EQ(unmet_expectations(both, s).size(), 2U);
}

TEST(ReplaySummary, MediansOfTurnTwoAndOfTurnsSixAndOn) {
    std::vector<ReplayTurn> turns;
    for (std::int64_t n = 1; n <= 8; ++n) turns.push_back(turn(0, n, "n", 100, 0));
    const ReplaySummary s = summarize(kTwoChats, turns, {});
    EXPECT_DOUBLE_EQ(s.ttft_ms_turn_2, 20);
    EXPECT_DOUBLE_EQ(s.ttft_ms_turn_6_on, 70);
}

TEST(ReplaySummary, ReadsCountersOfSeveralNodesAndTheirDifference) {
    const std::string text =
        "# HELP hearth_engine_prompt_tokens_total x\n"
        "hearth_engine_prompt_tokens_total{model=\"m\",source=\"computed\"} 40\n"
        "hearth_engine_prompt_tokens_total{model=\"m\",source=\"device\"} 60\n"
        "hearth_engine_reusable_tokens_total{model=\"m\"} 70\n"
        "hearth_engine_reused_tokens_total{model=\"m\"} 60\n"
        "hearth_engine_missed_tokens_total{model=\"m\",reason=\"evicted\"} 7\n"
        "hearth_engine_missed_tokens_total{model=\"m\",reason=\"diverged\"} 3\n"
        "hearth_engine_turns_total{model=\"m\",outcome=\"full_hit\"} 5\n"
        "hearth_engine_ceiling_full_hits_total{model=\"m\"} 6\n";
    const NodeCounters one = read_counters({text}), two = read_counters({text, text});
    EXPECT_DOUBLE_EQ(two.prompt, 200);
    EXPECT_DOUBLE_EQ(two.cached, 120);
    EXPECT_DOUBLE_EQ(two.beyond_cache, 0);
    EXPECT_DOUBLE_EQ(two.turns_full_ceiling, 12);
    const NodeCounters d = difference(two, one);
    EXPECT_DOUBLE_EQ(d.prompt, 100);
    EXPECT_DOUBLE_EQ(d.reused, 60);
    EXPECT_DOUBLE_EQ(d.turns_full, 5);
    EXPECT_DOUBLE_EQ(d.turns_full_ceiling, 6);
    for (const auto& [reason, tokens] : d.missed)
        EXPECT_DOUBLE_EQ(tokens, reason == "evicted" ? 7 : reason == "diverged" ? 3 : 0) << reason;
}

}  // namespace
}  // namespace hearth::cli
