// Promises: never more pages than there are, always kept, made good by eviction.
#include "cachenode/kv/device_tier.h"

#include <gtest/gtest.h>

#include <vector>

namespace hearth {
namespace {

const std::vector<engine::TokenId> kTokens(64, 3);

TEST(DeviceTier, PromisesNoMoreThanThereIs) {
    DeviceTier tier(128, 128 * 5, 1);
    EXPECT_TRUE(tier.promise(3));
    EXPECT_FALSE(tier.promise(3));
    EXPECT_TRUE(tier.promise(2));
    const Page page = tier.acquire();
    EXPECT_EQ(tier.pages_promised(), 4);
    EXPECT_FALSE(tier.promise(1));
    tier.take_back_promise(4);
    EXPECT_TRUE(tier.promise(4));
    tier.take_back_promise(4);
}

TEST(DeviceTier, CachedPagesCountAsAvailableUnlessLeased) {
    DeviceTier tier(128, 128 * 4, 1);
    ASSERT_TRUE(tier.promise(3));
    PrefixTree::Lease lease = tier.tree().match("", {}, {});
    for (int i = 0; i < 3; ++i) tier.tree().extend(lease, kTokens, tier.acquire(), {});
    EXPECT_FALSE(tier.promise(2));
    lease.reset();
    ASSERT_TRUE(tier.promise(4));
    std::vector<Page> pages;
    for (int i = 0; i < 4; ++i) pages.push_back(tier.acquire());
    EXPECT_EQ(tier.tree().pages(), 0);
    EXPECT_EQ(tier.tree().pages_evicted(), 3);
    EXPECT_EQ(tier.pool().pages_used(), 4);
}

using DeviceTierDeathTest = ::testing::Test;

TEST(DeviceTierDeathTest, APageNeedsAPromise) {
    DeviceTier tier(128, 1280, 1);
    EXPECT_DEATH((void)tier.acquire(), "promised");
}

}  // namespace
}  // namespace hearth
