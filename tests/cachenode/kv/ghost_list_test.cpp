// Ghosts are remembered until they come back or newer ones push them out.
#include "cachenode/kv/ghost_list.h"

#include <gtest/gtest.h>

namespace hearth {
namespace {

TEST(GhostList, RemembersTheNewest) {
    GhostList ghosts(3);
    for (std::uint64_t i = 1; i <= 5; ++i) ghosts.evicted({0, i});
    for (std::uint64_t i = 1; i <= 5; ++i) EXPECT_EQ(ghosts.was_evicted({0, i}), i > 2) << i;
    EXPECT_EQ(ghosts.size(), 3u);
}

TEST(GhostList, APageThatIsBackIsNoGhost) {
    GhostList ghosts(3);
    ghosts.evicted({0, 1});
    ghosts.cached_again({0, 1});
    EXPECT_FALSE(ghosts.was_evicted({0, 1}));
    ghosts.cached_again({0, 2});  // Never was one.
    EXPECT_EQ(ghosts.size(), 0u);
}

TEST(GhostList, EvictedAnewIsAsNewAsItsLastEviction) {
    GhostList ghosts(3);
    ghosts.evicted({0, 1});
    ghosts.cached_again({0, 1});
    ghosts.evicted({0, 2});
    ghosts.evicted({0, 1});  // Its first slot is the oldest still.
    ghosts.evicted({0, 3});
    EXPECT_TRUE(ghosts.was_evicted({0, 1}));
    ghosts.evicted({0, 4});
    EXPECT_TRUE(ghosts.was_evicted({0, 1}));
    EXPECT_FALSE(ghosts.was_evicted({0, 2}));
    ghosts.evicted({0, 5});
    EXPECT_FALSE(ghosts.was_evicted({0, 1}));
    EXPECT_EQ(ghosts.size(), 3u);
}

TEST(GhostList, NeverGrowsBeyondItsBound) {
    GhostList ghosts(8), none(0);
    for (std::uint64_t i = 0; i < 1000; ++i) {
        ghosts.evicted({0, i % 13});
        none.evicted({0, i});
        if (i % 3 == 0) ghosts.cached_again({0, i % 13});
        ASSERT_LE(ghosts.size(), 8u);
    }
    EXPECT_EQ(none.size(), 0u);
}

}  // namespace
}  // namespace hearth
