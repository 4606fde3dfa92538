// Replies from hand-made logits: text in whole characters, stops held back, every way to end.
#include "cachenode/scheduler/reply.h"

#include <gtest/gtest.h>

#include "tests/cachenode/scheduler/chat_world.h"

namespace hearth {
namespace {

using engine::TokenId;

class ReplyTest : public ::testing::Test {
  protected:
    ReplyTest() {
        turn_.sampling.temperature = 0;
        turn_.max_tokens = 1'000;
    }

    // Samples `id`, or the second best, 'z', when that may not come.
    static Reply::Step sample(Reply& reply, TokenId id) {
        std::vector<float> logits(static_cast<std::size_t>(testing::small_tokenizer().size()));
        logits['z'] = 1;
        logits[static_cast<std::size_t>(id)] = 2;
        return reply.sample(logits);
    }

    // The steps' texts joined with |, up to the end of the reply.
    std::string run(const std::string& bytes) {
        Reply reply(testing::small_tokenizer(), turn_);
        std::string joined;
        for (const char c : bytes) {
            last_ = sample(reply, static_cast<unsigned char>(c));
            joined += last_.text + "|";
            if (last_.has_ended) break;
        }
        text_ = reply.text();
        return joined;
    }

    TurnRequest turn_;
    Reply::Step last_;
    std::string text_;
};

TEST_F(ReplyTest, GivesWholeCharacters) {
    EXPECT_EQ(run("a\xC3\xA9"), "a||\xC3\xA9|");
    turn_.max_tokens = 2;
    EXPECT_EQ(run("a\xC3\xA9"), "a|\xEF\xBF\xBD|");  // Cut in a character.
    EXPECT_EQ(last_.finish, FinishReason::kLength);
}

TEST_F(ReplyTest, HoldsBackWhatMayBecomeAStop) {
    turn_.stop = {"END"};
    EXPECT_EQ(run("aENbENDc"), "a|||ENb||||");
    EXPECT_TRUE(last_.has_ended);
    EXPECT_EQ(last_.finish, FinishReason::kStop);
    EXPECT_EQ(text_, "aENb");
    turn_.max_tokens = 3;
    EXPECT_EQ(run("aEN"), "a||EN|");  // It did not become one.
    EXPECT_EQ(last_.finish, FinishReason::kLength);
}

TEST_F(ReplyTest, AnEndTokenFlushesAndIsNoText) {
    turn_.stop = {"END"};
    Reply reply(testing::small_tokenizer(), turn_);
    sample(reply, 'E');
    const Reply::Step step = sample(reply, testing::end_of_turn_id());
    EXPECT_TRUE(step.has_ended);
    EXPECT_FALSE(step.is_fed);
    EXPECT_EQ(step.text, "E");
    EXPECT_EQ(reply.tokens(), 2);
}

TEST_F(ReplyTest, IgnoreEosNeverSamplesOne) {
    turn_.ignore_eos = true;
    Reply reply(testing::small_tokenizer(), turn_);
    for (int i = 0; i < 5; ++i) {
        EXPECT_EQ(sample(reply, testing::end_of_turn_id()).text, "z");
        EXPECT_EQ(sample(reply, testing::small_tokenizer().spec().eos).text, "z");
    }
}

TEST_F(ReplyTest, MinTokensPutsOffEveryStop) {
    turn_.min_tokens = 2;
    turn_.stop = {"b"};
    turn_.stop_token_ids = {'c'};
    Reply reply(testing::small_tokenizer(), turn_);
    EXPECT_EQ(sample(reply, 'b').text, "b");
    EXPECT_EQ(sample(reply, 'c').text, "z");
    EXPECT_TRUE(sample(reply, 'c').has_ended);
    Reply other(testing::small_tokenizer(), turn_);
    sample(other, 'a');
    sample(other, 'a');
    EXPECT_TRUE(sample(other, 'b').has_ended);
    EXPECT_EQ(other.text(), "aa");
}

TEST_F(ReplyTest, AStopInTheLastTokenIsAStop) {
    turn_.stop = {"b"};
    turn_.max_tokens = 2;
    EXPECT_EQ(run("ab"), "a||");
    EXPECT_EQ(last_.finish, FinishReason::kStop);
}

}  // namespace
}  // namespace hearth
