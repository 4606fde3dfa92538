// Clocks: the manual one moves only by hand, the real one forward and in the right century.
#include "common/base/clock.h"

#include <gtest/gtest.h>

#include <thread>
#include <vector>

namespace hearth {
namespace {

TEST(ManualClock, MovesOnlyByHand) {
    ManualClock clock(5 * kSecond);
    EXPECT_EQ(clock.now(), 5 * kSecond);
    EXPECT_EQ(clock.now(), 5 * kSecond);
    clock.advance(250 * kMs);
    EXPECT_EQ(clock.now(), 5'250 * kMs);
    EXPECT_EQ(clock.unix_now(), 5'250);
    EXPECT_EQ(seconds(clock.now()), 5.25);
}

TEST(ManualClock, AddsUpFromManyThreads) {
    ManualClock clock(0);
    std::vector<std::thread> threads;
    for (int i = 0; i < 4; ++i)
        threads.emplace_back([&clock] {
            for (int n = 0; n < 1000; ++n) clock.advance(3);
        });
    for (auto& thread : threads) thread.join();
    EXPECT_EQ(clock.now(), 12'000);
}

TEST(SystemClock, NeverGoesBackAndKnowsTheDate) {
    const Clock& clock = SystemClock::instance();
    MonotonicNs last = clock.now();
    for (int i = 0; i < 10'000; ++i) {
        const MonotonicNs now = clock.now();
        ASSERT_GE(now, last);
        last = now;
    }
    constexpr UnixMs k2024 = 1'704'067'200'000, k2124 = 4'859'740'800'000;
    EXPECT_GT(clock.unix_now(), k2024);
    EXPECT_LT(clock.unix_now(), k2124);
}

}  // namespace
}  // namespace hearth
