// The accounting of reuse: each reason by hand, then the invariants on random turns.
#include "cachenode/kv/reuse.h"

#include <gtest/gtest.h>

#include <numeric>

#include "common/base/rng.h"
#include "tests/cachenode/scheduler/chat_world.h"

namespace hearth {
namespace {

using engine::TokenId;
using Ids = std::vector<TokenId>;
using Missed = std::map<MissReason, std::int64_t>;

Ids ids(std::int64_t count) {
    Ids out(static_cast<std::size_t>(count));
    std::iota(out.begin(), out.end(), 0);
    return out;
}

TEST(Reuse, AFirstTurnHasNothingReusable) {
    const Ids prompt = ids(100);
    const Reuse reuse = account_reuse({.prompt = prompt, .has_session = true, .cached = 70});
    EXPECT_EQ(reuse.reusable, 0);
    EXPECT_EQ(reuse.reused, 0);
    EXPECT_TRUE(reuse.missed.empty());
}

TEST(Reuse, AFullHitIsAllOfTheCommonPrefix) {
    const Ids prompt = ids(100);
    const SessionTurn last{ids(80), 80, MissReason::kCapacity, 1};
    const Reuse reuse = account_reuse(
        {.prompt = prompt, .history_tokens = 82, .has_session = true, .last = &last, .cached = 80});
    EXPECT_EQ(reuse.reusable, 80);
    EXPECT_EQ(reuse.reused, 80);
    EXPECT_TRUE(reuse.missed.empty());
}

TEST(Reuse, TheLastPromptTokenIsNeverReusable) {
    const Ids prompt = ids(100);
    const SessionTurn last{ids(120), 120, MissReason::kCapacity, 1};
    const Reuse reuse =
        account_reuse({.prompt = prompt, .has_session = true, .last = &last, .cached = 99});
    EXPECT_EQ(reuse.reusable, 99);
    EXPECT_EQ(reuse.reused, 99);
}

TEST(Reuse, StoredAndUnstoredTokensMissForTheirReasons) {
    const Ids prompt = ids(100);
    const SessionTurn last{ids(80), 60, MissReason::kDiverged, 1};
    const Reuse reuse = account_reuse(
        {.prompt = prompt, .history_tokens = 82, .has_session = true, .last = &last, .cached = 10});
    EXPECT_EQ(reuse.reusable, 80);
    EXPECT_EQ(reuse.reused, 10);
    EXPECT_EQ(reuse.missed, (Missed{{MissReason::kEvicted, 50}, {MissReason::kDiverged, 20}}));
}

TEST(Reuse, TheSameTextInOtherIdsIsAMiss) {
    const Ids prompt = ids(100);
    Ids before = ids(50);
    before.resize(70, -5);
    const SessionTurn last{before, 70, MissReason::kCapacity, 1};
    const Reuse reuse = account_reuse({.prompt = prompt,
                                       .history_tokens = 68,
                                       .has_session = true,
                                       .last = &last,
                                       .cached = 50,
                                       .same_text = 18});
    EXPECT_EQ(reuse.reusable, 68);
    EXPECT_EQ(reuse.missed, (Missed{{MissReason::kDiverged, 18}}));
}

TEST(Reuse, ATurnServedElsewhereMeanwhileIsRerouted) {
    const Ids prompt = ids(100);
    const SessionTurn last{ids(40), 40, MissReason::kCapacity, 1};
    ReuseQuestion question{.prompt = prompt,
                           .history_tokens = 90,
                           .has_session = true,
                           .last = &last,
                           .hint = {.known = true, .node_alive = true, .tokens = 85},
                           .cached = 40};
    EXPECT_EQ(account_reuse(question).missed, (Missed{{MissReason::kRerouted, 45}}));
    question.hint.node_alive = false;
    EXPECT_EQ(account_reuse(question).missed, (Missed{{MissReason::kNodeLost, 45}}));
    // The client edited the chat after our turn: what the record counts is another text.
    Ids edited = ids(30);
    edited.resize(100, -7);
    question.prompt = edited;
    question.cached = 30;
    EXPECT_EQ(account_reuse(question).reusable, 30);
}

TEST(Reuse, AnUnknownSessionWithAHistoryWasElsewhere) {
    const Ids prompt = ids(100);
    ReuseQuestion question{.prompt = prompt, .history_tokens = 90, .has_session = true};
    EXPECT_EQ(account_reuse(question).missed, (Missed{{MissReason::kRerouted, 90}}));
    question.known = 30;  // Pages that this node had, whoever's.
    EXPECT_EQ(account_reuse(question).missed,
              (Missed{{MissReason::kEvicted, 30}, {MissReason::kRerouted, 60}}));
    question.has_session = false;
    EXPECT_EQ(account_reuse(question).missed, (Missed{{MissReason::kEvicted, 30}}));
}

TEST(Reuse, DecliningIsTheOneReasonThen) {
    const Ids prompt = ids(100);
    const SessionTurn last{ids(80), 60, MissReason::kCapacity, 1};
    const Reuse reuse = account_reuse({.prompt = prompt,
                                       .history_tokens = 95,
                                       .has_session = true,
                                       .last = &last,
                                       .hint = {.known = true, .tokens = 95},
                                       .declined = true});
    EXPECT_EQ(reuse.reusable, 95);
    EXPECT_EQ(reuse.reused, 0);
    EXPECT_EQ(reuse.missed, (Missed{{MissReason::kDeclined, 95}}));
}

TEST(Reuse, EveryReusableTokenIsReusedOrMissedOnce) {
    constexpr std::uint64_t kSeed = 17;
    SCOPED_TRACE(kSeed);
    Rng rng(kSeed);
    const auto up_to = [&rng](std::int64_t max) {
        return static_cast<std::int64_t>(rng.below(static_cast<std::uint64_t>(max) + 1));
    };
    for (int round = 0; round < 20'000; ++round) {
        const Ids prompt = ids(1 + up_to(60));
        const std::int64_t limit = std::ssize(prompt) - 1;
        SessionTurn last{ids(up_to(limit)), 0, static_cast<MissReason>(up_to(5)), 1};
        for (std::int64_t junk = up_to(5); junk > 0; --junk) last.tokens.push_back(-1);
        last.stored = up_to(std::ssize(last.tokens));
        ReuseQuestion q{.prompt = prompt,
                        .history_tokens = up_to(limit + 1),
                        .has_session = rng.below(2) == 0,
                        .hint = {.known = rng.below(2) == 0, .tokens = up_to(70)},
                        .cached = up_to(limit),
                        .known = up_to(limit),
                        .same_text = up_to(4)};
        if (q.has_session && rng.below(2) == 0) q.last = &last;
        q.declined = rng.below(8) == 0;
        const Reuse reuse = account_reuse(q);
        std::int64_t missed = 0;
        for (const auto& [reason, tokens] : reuse.missed) {
            EXPECT_GT(tokens, 0);
            missed += tokens;
        }
        ASSERT_EQ(reuse.reused + missed, reuse.reusable) << "round " << round;
        ASSERT_LE(reuse.reusable, limit);
        ASSERT_LE(reuse.reused, q.cached);
        ASSERT_GE(reuse.reused, 0);
    }
}

Ids encoded(const std::string& text) {
    Ids out;
    testing::small_tokenizer().encode(text, engine::Tokenizer::Special::kPlain, out);
    return out;
}

Ids letters(const std::string& text) {
    return {text.begin(), text.end()};
}

TEST(SameText, CountsTokensThatSayTheSameInOtherIds) {
    const engine::Tokenizer& tokenizer = testing::small_tokenizer();
    const Ids prompt = encoded("the other one");
    ASSERT_LT(prompt.size(), 13u);
    const Ids stored = letters("the other one");
    const auto size = std::ssize(prompt);
    EXPECT_EQ(same_text_tokens(tokenizer, prompt, stored), size);
    EXPECT_EQ(same_text_tokens(tokenizer, prompt, letters("the other one and more")), size);
    // What goes beyond the stored text is new.
    EXPECT_EQ(same_text_tokens(tokenizer, encoded("the other one!"), stored), size);
    EXPECT_EQ(same_text_tokens(tokenizer, prompt, {}), 0);
    EXPECT_EQ(same_text_tokens(tokenizer, {}, stored), 0);
}

TEST(SameText, AnEditIsNewText) {
    const engine::Tokenizer& tokenizer = testing::small_tokenizer();
    EXPECT_EQ(same_text_tokens(tokenizer, encoded("the other one"), letters("the other two")), 0);
    EXPECT_EQ(same_text_tokens(tokenizer, encoded("cats"), letters("dogs")), 0);
}

}  // namespace
}  // namespace hearth
