// TokenBucket: bursts, refill, debts, and how long to wait.
#include "router/admission/token_bucket.h"

#include <gtest/gtest.h>

namespace hearth {
namespace {

TEST(TokenBucket, LetsABurstThroughAndRefillsAtItsRate) {
    ManualClock clock;
    TokenBucket bucket(2, 3, clock.now());
    for (int i = 0; i < 3; ++i) {
        ASSERT_TRUE(bucket.holds(1, clock.now()));
        bucket.take(1, clock.now());
    }
    EXPECT_FALSE(bucket.holds(1, clock.now()));
    EXPECT_DOUBLE_EQ(bucket.wait_for(1, clock.now()), 0.5);
    EXPECT_DOUBLE_EQ(bucket.wait_for_all(clock.now()), 1.5);
    clock.advance(499 * kMs);
    EXPECT_FALSE(bucket.holds(1, clock.now()));
    clock.advance(kMs);
    EXPECT_TRUE(bucket.holds(1, clock.now()));
    clock.advance(100 * kSecond);
    EXPECT_DOUBLE_EQ(bucket.level(clock.now()), 3);
}

TEST(TokenBucket, WhatNeverFitsWaitsForAFullBucketAndLeavesADebt) {
    ManualClock clock;
    TokenBucket bucket(10, 100, clock.now());
    bucket.take(1, clock.now());
    EXPECT_FALSE(bucket.holds(1000, clock.now()));
    EXPECT_DOUBLE_EQ(bucket.wait_for(1000, clock.now()), 0.1);
    clock.advance(100 * kMs);
    ASSERT_TRUE(bucket.holds(1000, clock.now()));
    bucket.take(1000, clock.now());
    EXPECT_DOUBLE_EQ(bucket.level(clock.now()), -900);
    EXPECT_DOUBLE_EQ(bucket.wait_for(1, clock.now()), 90.1);
}

TEST(TokenBucket, GivesBackWhatWasTooMuchButNeverMoreThanItHolds) {
    ManualClock clock;
    TokenBucket bucket(1, 10, clock.now());
    bucket.take(8, clock.now());
    bucket.take(-5, clock.now());
    EXPECT_DOUBLE_EQ(bucket.level(clock.now()), 7);
    bucket.take(-50, clock.now());
    EXPECT_DOUBLE_EQ(bucket.level(clock.now()), 10);
}

TEST(TokenBucket, WithoutARateNothingIsLimited) {
    ManualClock clock;
    TokenBucket bucket(0, 0, clock.now());
    for (int i = 0; i < 1000; ++i) {
        ASSERT_TRUE(bucket.holds(1e9, clock.now()));
        bucket.take(1e9, clock.now());
    }
    EXPECT_EQ(bucket.wait_for_all(clock.now()), 0);
}

}  // namespace
}  // namespace hearth
