// Result and CHECK: values, errors, moves, and the loud end of a misuse.
#include "common/base/result.h"

#include <gtest/gtest.h>

#include <memory>
#include <set>

namespace hearth {
namespace {

Result<int> parsed(bool good) {
    if (!good) return make_error(ErrorCode::kTooLarge, "limit 5");
    return 4;
}

TEST(Result, HoldsAValueOrAnError) {
    const auto good = parsed(true);
    ASSERT_TRUE(good.ok());
    EXPECT_EQ(*good, 4);
    const auto bad = parsed(false);
    ASSERT_FALSE(bad);
    EXPECT_EQ(bad.error().code, ErrorCode::kTooLarge);
    EXPECT_EQ(bad.error().message, "limit 5");
}

TEST(Result, MovesWhatCannotBeCopied) {
    Result<std::unique_ptr<int>> made(std::make_unique<int>(7));
    const std::unique_ptr<int> taken = std::move(made).value();
    EXPECT_EQ(*taken, 7);
}

TEST(Result, VoidIsGoodUnlessToldOtherwise) {
    EXPECT_TRUE(Result<void>().ok());
    const Result<void> bad = make_error(ErrorCode::kTimeout, "late");
    EXPECT_FALSE(bad.ok());
    EXPECT_EQ(bad.error().message, "late");
}

TEST(Result, EveryCodeHasANameOfItsOwn) {
    std::set<std::string> names;
    for (int code = 1; code <= 9; ++code) names.insert(to_string(static_cast<ErrorCode>(code)));
    EXPECT_EQ(names.size(), 9u);
    EXPECT_FALSE(names.count("unknown"));
}

TEST(ResultDeathTest, TheValueOfAnErrorIsABug) {
    EXPECT_DEATH((void)*parsed(false), "CHECK failed.*limit 5");
    EXPECT_DEATH((void)parsed(true).error(), "CHECK failed");
    EXPECT_DEATH(CHECK_MSG(1 == 2, "detail"), "1 == 2 at .*result_test.cpp:[0-9]+: detail");
}

}  // namespace
}  // namespace hearth
