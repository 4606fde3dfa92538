// The LRU forecast of `hearth plan`, by loads that can be worked out by hand.
#include "cli/cache_model.h"

#include <gtest/gtest.h>

#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <fstream>

#include "cli/trace_file.h"

namespace hearth::cli {
namespace {

TraceTurn turn(double at_s, std::int64_t session, std::int64_t prompt, std::int64_t reply) {
    return {at_s, {session}, {prompt}, reply};
}

// Ten sessions take turns, ten times; each grows by 100 tokens a turn, 40 of them the reply.
std::vector<TraceTurn> round_robin() {
    std::vector<TraceTurn> out;
    for (int k = 0; k < 10; ++k)
        for (int s = 0; s < 10; ++s) out.push_back(turn(10 * k + s, s, 100 * k + 60, 40));
    return out;
}

TEST(CacheModel, WhatFitsIsFoundAgain) {
    const CacheForecast all = forecast(round_robin(), 1e9, 10);
    // Turn k finds the k * 100 tokens that the turn before left: sum of 100 to 900, ten times.
    EXPECT_EQ(all.reusable_tokens, 10 * 4500);
    EXPECT_EQ(all.reused_tokens, all.reusable_tokens);
    EXPECT_EQ(all.kept_s, 0);
}

TEST(CacheModel, ARoundThatDoesNotFitFindsNothing) {
    // Ten sessions of 1,000 tokens at their end; with room for 9,000 LRU fails in the last rounds.
    const CacheForecast tight = forecast(round_robin(), 9'000 * 10, 10);
    EXPECT_EQ(tight.reusable_tokens, 10 * 4500);
    EXPECT_LT(tight.reused_tokens, tight.reusable_tokens);
    EXPECT_GT(tight.reused_tokens, tight.reusable_tokens / 2) << "the early rounds fit";
    EXPECT_GT(tight.kept_s, 5);
    EXPECT_LT(tight.kept_s, 11);
    EXPECT_EQ(forecast(round_robin(), 0, 10).reused_tokens, 0);
}

TEST(CacheModel, ABlockBehindAHoleIsOfNoUse) {
    const std::vector<TraceTurn> turns = {{0, {1, 2, 3}, {512, 512, 512}, 0},
                                          {1, {1, 9, 3}, {512, 512, 512}, 0}};
    const CacheForecast out = forecast(turns, 1e9, 1);
    EXPECT_EQ(out.reusable_tokens, 512) << "block 3 follows another prefix";
    EXPECT_EQ(out.reused_tokens, 512);
}

TEST(CacheModel, TheBeginningIsTheLastToGo) {
    const std::vector<TraceTurn> turns = {
        {0, {1, 2, 3}, {512, 512, 512}, 0}, {1, {4}, {512}, 0}, {2, {1, 2, 3}, {512, 512, 512}, 0}};
    const CacheForecast out = forecast(turns, 3 * 512, 1);
    EXPECT_EQ(out.reusable_tokens, 3 * 512);
    EXPECT_EQ(out.reused_tokens, 2 * 512) << "one block had to go, the deepest";
}

TEST(CacheModel, GapsAreBetweenTurnsOfOneSession) {
    const ReplyGaps gaps = reply_gaps(round_robin());
    EXPECT_EQ(gaps.count, 90u);
    EXPECT_EQ(gaps.p50_s, 10);
    EXPECT_EQ(gaps.p95_s, 10);
}

class TraceFile : public testing::Test {
  protected:
    void TearDown() override { std::remove(path_.c_str()); }
    void write(const std::string& text) { std::ofstream(path_) << text; }
    const std::string path_ = std::filesystem::temp_directory_path().string() + "/hearth-trace-" +
                              std::to_string(::getpid()) + ".jsonl";
};

TEST_F(TraceFile, SessionsAndBlocks) {
    write(R"({"timestamp":0,"session":"a","input_length":10,"output_length":5})"
          "\n"
          R"({"timestamp":1500,"session":"b","input_length":7,"output_length":1})"
          "\n"
          R"({"timestamp":2000,"input_length":600,"output_length":1,"hash_ids":[7,8]})"
          "\n");
    const auto turns = read_trace(path_);
    ASSERT_TRUE(turns) << turns.error().message;
    ASSERT_EQ(turns->size(), 3u);
    EXPECT_EQ((*turns)[1].at_s, 1.5);
    EXPECT_NE((*turns)[0].units, (*turns)[1].units);
    EXPECT_EQ((*turns)[2].unit_tokens, (std::vector<std::int64_t>{512, 88}));
}

TEST_F(TraceFile, ErrorsNameTheLine) {
    const std::string good = R"({"timestamp":5,"session":"a","input_length":10,"output_length":5})";
    for (const char* bad :
         {"x", "[]", R"({"timestamp":6,"input_length":1,"output_length":1})",
          R"({"timestamp":6,"session":"a","input_length":1})",
          R"({"timestamp":4,"session":"a","input_length":1,"output_length":1})"}) {
        write(good + "\n" + bad + "\n");
        const auto turns = read_trace(path_);
        ASSERT_FALSE(turns) << bad;
        EXPECT_NE(turns.error().message.find(path_ + ":2: "), std::string::npos)
            << turns.error().message;
    }
    EXPECT_FALSE(read_trace("/no/such/file"));
}

TEST_F(TraceFile, ChatsAreGivenToMoreUsersAtAPace) {
    write(R"({"id":"a","system":"ss","turns":[{"role":"user","text":"u"},)"
          R"({"role":"assistant","text":"aaa"},{"role":"user","text":"uu"}]})"
          "\n");
    const auto count = [](const std::string& text) {
        return static_cast<std::int64_t>(text.size());
    };
    const auto turns = read_paced_chats(path_, {.users = 3, .gap_s = 30}, count);
    ASSERT_TRUE(turns) << turns.error().message;
    ASSERT_EQ(turns->size(), 6u);
    EXPECT_EQ((*turns)[0].unit_tokens[0], 2 + 5 + 1 + 5);
    EXPECT_EQ((*turns)[0].added_tokens, 3 + 5);
    EXPECT_EQ((*turns)[3].unit_tokens[0], 13 + 8 + 2 + 5);
    EXPECT_EQ((*turns)[3].at_s, 30);
    EXPECT_DOUBLE_EQ((*turns)[5].at_s, 50);
}

}  // namespace
}  // namespace hearth::cli
