// UTF-8 steps: the borders of every row of Unicode's table of well-formed sequences.
#include "engine/text/utf8.h"

#include <gtest/gtest.h>

namespace hearth::engine {
namespace {

using Kind = Utf8Step::Kind;

struct Case {
    std::string bytes;
    Kind kind;
    int length;
    char32_t rune;
};

TEST(Utf8, EachRowOfTheTable) {
    const Case cases[] = {
        {"a", Kind::kRune, 1, 'a'},
        {"\x7F", Kind::kRune, 1, 0x7F},
        {"\x80", Kind::kInvalid, 1, 0},
        {"\xC1\xBF", Kind::kInvalid, 1, 0},
        {"\xC2\x80", Kind::kRune, 2, 0x80},
        {"\xDF\xBF", Kind::kRune, 2, 0x7FF},
        {"\xE0\x9F\xBF", Kind::kInvalid, 1, 0},
        {"\xE0\xA0\x80", Kind::kRune, 3, 0x800},
        {"\xED\x9F\xBF", Kind::kRune, 3, 0xD7FF},
        {"\xED\xA0\x80", Kind::kInvalid, 1, 0},
        {"\xEE\x80\x80", Kind::kRune, 3, 0xE000},
        {"\xF0\x8F\xBF\xBF", Kind::kInvalid, 1, 0},
        {"\xF0\x90\x80\x80", Kind::kRune, 4, 0x10000},
        {"\xF4\x8F\xBF\xBF", Kind::kRune, 4, 0x10FFFF},
        {"\xF4\x90\x80\x80", Kind::kInvalid, 1, 0},
        {"\xF5\x80\x80\x80", Kind::kInvalid, 1, 0},
        {"\xE1\x80"
         "a",
         Kind::kInvalid, 2, 0},
        {"\xF1\x80\x80"
         "a",
         Kind::kInvalid, 3, 0},
        {"\xC2", Kind::kTruncated, 1, 0},
        {"\xE1\x80", Kind::kTruncated, 2, 0},
        {"\xF1\x80\x80", Kind::kTruncated, 3, 0},
    };
    for (const Case& c : cases) {
        const Utf8Step step = next_rune(c.bytes);
        EXPECT_EQ(step.kind, c.kind) << testing::PrintToString(c.bytes);
        EXPECT_EQ(step.length, c.length) << testing::PrintToString(c.bytes);
        EXPECT_EQ(step.rune, c.rune) << testing::PrintToString(c.bytes);
    }
}

TEST(Utf8, TakesOnlyWhatIsCertain) {
    std::string pending = "a\xC3\xA9\x80\xE2\x82";
    std::string out;
    take_valid_utf8(pending, false, out);
    EXPECT_EQ(out, "a\xC3\xA9\xEF\xBF\xBD");
    EXPECT_EQ(pending, "\xE2\x82");
    take_valid_utf8(pending, true, out);
    EXPECT_EQ(out, "a\xC3\xA9\xEF\xBF\xBD\xEF\xBF\xBD");
    EXPECT_EQ(pending, "");
}

}  // namespace
}  // namespace hearth::engine
