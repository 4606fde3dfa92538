// UsageTail: the tokens of answers as servers write them, in pieces of any size.
#include "router/admission/usage_tail.h"

#include <gtest/gtest.h>

namespace hearth {
namespace {

std::optional<std::int64_t> tokens_of(const std::string& text, std::size_t step = 7) {
    UsageTail tail;
    for (std::size_t at = 0; at < text.size(); at += step) tail.take(text.substr(at, step));
    return tail.total_tokens();
}

TEST(UsageTail, ReadsAnswersAndStreams) {
    EXPECT_EQ(tokens_of(R"({"choices":[],"usage":{"prompt_tokens":3,"total_tokens":12}})"), 12);
    EXPECT_EQ(tokens_of("{\"usage\" : {\n \"total_tokens\" :\t5 }, \"after\": null}"), 5);
    EXPECT_EQ(tokens_of("data: {\"usage\":null}\n\ndata: {\"choices\":[],\"usage\":"
                        "{\"total_tokens\":77}}\n\ndata: [DONE]\n\n"),
              77);
    EXPECT_EQ(tokens_of("data: {\"usage\":{\"total_tokens\":7}}\n\ndata: {\"usage\":null}\n\n"), 7);
}

TEST(UsageTail, OnlyTheEndIsKept) {
    const std::string filler(100'000, 'x');
    const std::string usage = R"("usage":{"total_tokens":9}})";
    EXPECT_EQ(tokens_of("{\"a\":\"" + filler + "\"," + usage, 1000), 9);
    EXPECT_EQ(tokens_of("{\"a\":\"" + filler + "\"," + usage, 1'000'000), 9);
    EXPECT_EQ(tokens_of("{" + usage + filler), std::nullopt);
}

TEST(UsageTail, TextOfTheAnswerIsNoUsage) {
    EXPECT_EQ(tokens_of(R"({"content":"\"usage\":{\"total_tokens\":1}"})"), std::nullopt);
    EXPECT_EQ(tokens_of(R"({"content":"usage","total_tokens":1})"), std::nullopt);
}

TEST(UsageTail, NonsenseIsNothing) {
    for (const char* text :
         {"", "\"usage\"", "\"usage\":", "\"usage\":{", "\"usage\":{\"total_tokens\"",
          "\"usage\":{\"total_tokens\":", "\"usage\":{\"total_tokens\":\"5\"}",
          "\"usage\":{\"total_tokens\":-5}", "\"usage\":{\"total_tokens\":99999999999999999999}"})
        EXPECT_EQ(tokens_of(text), std::nullopt) << text;
}

}  // namespace
}  // namespace hearth
