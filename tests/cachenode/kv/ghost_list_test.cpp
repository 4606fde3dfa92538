// Ghosts are remembered until they come back or newer ones of their set push them out.
#include "cachenode/kv/ghost_list.h"

#include <gtest/gtest.h>

namespace hearth {
namespace {

// The two low bits of `high` are the fate's.
PageHash hash(std::uint64_t i) {
    return {i << 2, i};
}

bool is_known(const GhostList& ghosts, std::uint64_t i) {
    return ghosts.fate(hash(i)) != PageFate::kUnknown;
}

TEST(GhostList, RemembersTheNewest) {
    GhostList ghosts(4);
    for (std::uint64_t i = 1; i <= 6; ++i) ghosts.gone(hash(i), PageFate::kEvicted);
    for (std::uint64_t i = 1; i <= 6; ++i) EXPECT_EQ(is_known(ghosts, i), i > 2) << i;
    EXPECT_EQ(ghosts.size(), 4u);
}

TEST(GhostList, RemembersTheFate) {
    GhostList ghosts(4);
    ghosts.gone(hash(1), PageFate::kEvicted);
    ghosts.gone(hash(2), PageFate::kExpired);
    EXPECT_EQ(ghosts.fate(hash(1)), PageFate::kEvicted);
    EXPECT_EQ(ghosts.fate(hash(2)), PageFate::kExpired);
    ghosts.gone(hash(1), PageFate::kExpired);
    EXPECT_EQ(ghosts.fate(hash(1)), PageFate::kExpired);
    EXPECT_EQ(ghosts.size(), 2u);
}

TEST(GhostList, APageThatIsBackIsNoGhost) {
    GhostList ghosts(4);
    ghosts.gone(hash(1), PageFate::kEvicted);
    ghosts.cached_again(hash(1));
    EXPECT_FALSE(is_known(ghosts, 1));
    ghosts.cached_again(hash(2));  // Never was one.
    EXPECT_EQ(ghosts.size(), 0u);
}

TEST(GhostList, EvictedAnewIsAsNewAsItsLastEviction) {
    GhostList ghosts(4);
    for (std::uint64_t i = 1; i <= 4; ++i) ghosts.gone(hash(i), PageFate::kEvicted);
    ghosts.gone(hash(1), PageFate::kEvicted);
    ghosts.gone(hash(5), PageFate::kEvicted);
    EXPECT_TRUE(is_known(ghosts, 1));
    EXPECT_FALSE(is_known(ghosts, 2));
    ghosts.cached_again(hash(3));
    ghosts.gone(hash(6), PageFate::kEvicted);  // Takes the room of 3.
    for (const std::uint64_t i : {1, 4, 5, 6}) EXPECT_TRUE(is_known(ghosts, i)) << i;
    EXPECT_EQ(ghosts.size(), 4u);
}

TEST(GhostList, NeverGrowsBeyondItsBound) {
    GhostList ghosts(8), none(0);
    for (std::uint64_t i = 0; i < 1000; ++i) {
        ghosts.gone(hash(i % 13), PageFate::kEvicted);
        none.gone(hash(i), PageFate::kEvicted);
        if (i % 3 == 0) ghosts.cached_again(hash(i % 13));
        ASSERT_LE(ghosts.size(), 8u);
    }
    EXPECT_EQ(none.size(), 0u);
    EXPECT_FALSE(is_known(none, 999));
}

}  // namespace
}  // namespace hearth
