// Rng: the published SplitMix64 sequence, evenness, and that mix64 loses nothing.
#include "common/base/rng.h"

#include <gtest/gtest.h>

#include <array>
#include <set>

namespace hearth {
namespace {

TEST(Rng, GivesThePublishedSplitMix64Sequence) {
    // From a separate implementation in Python of the algorithm of Steele, Lea and Flood (2014).
    Rng rng(1234567);
    EXPECT_EQ(rng.next(), 6457827717110365317ULL);
    EXPECT_EQ(rng.next(), 3203168211198807973ULL);
    EXPECT_EQ(rng.next(), 9817491932198370423ULL);
    EXPECT_EQ(rng.next(), 4593380528125082431ULL);
    EXPECT_EQ(rng.next(), 16408922859458223821ULL);
}

TEST(Rng, SameSeedSameSequence) {
    Rng a(5), b(5), c(6);
    bool differs = false;
    for (int i = 0; i < 100; ++i) {
        const auto x = a.next();
        EXPECT_EQ(x, b.next());
        differs = differs || x != c.next();
    }
    EXPECT_TRUE(differs);
}

TEST(Rng, BelowIsInRangeAndEven) {
    Rng rng(42);
    std::array<int, 10> counts{};
    for (int i = 0; i < 100'000; ++i) {
        const auto x = rng.below(10);
        ASSERT_LT(x, 10u);
        ++counts[x];
    }
    // 10,000 expected, standard deviation 95: five of them.
    for (const int count : counts) EXPECT_NEAR(count, 10'000, 475);
    for (int i = 0; i < 100; ++i) EXPECT_EQ(rng.below(1), 0u);
    for (int i = 0; i < 100; ++i) EXPECT_LT(rng.below(~0ULL), ~0ULL);
}

TEST(Rng, UniformIsInRangeWithTheRightMean) {
    Rng rng(43);
    double sum = 0;
    for (int i = 0; i < 100'000; ++i) {
        const double x = rng.uniform();
        ASSERT_GE(x, 0.0);
        ASSERT_LT(x, 1.0);
        sum += x;
    }
    EXPECT_NEAR(sum / 100'000, 0.5, 0.005);
}

TEST(Rng, MixHasNoCollisionsAmongNeighbours) {
    std::set<std::uint64_t> seen;
    for (std::uint64_t i = 0; i < 10'000; ++i) seen.insert(mix64(i));
    EXPECT_EQ(seen.size(), 10'000u);
}

}  // namespace
}  // namespace hearth
