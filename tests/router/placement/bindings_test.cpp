// Bindings: bounded, least recently used goes first, a lower epoch never wins.
#include "router/placement/bindings.h"

#include <gtest/gtest.h>

namespace hearth {
namespace {

SessionKey key(std::uint64_t n) {
    return {n, ~n};
}

TEST(Bindings, ForgetsTheLeastRecentlyUsed) {
    Bindings bindings(3);
    for (std::uint64_t n = 1; n <= 3; ++n) bindings.put(key(n), {"node", 1, false, 0});
    ASSERT_NE(bindings.find(key(1)), nullptr);
    bindings.put(key(4), {"node", 1, false, 0});
    EXPECT_EQ(bindings.size(), 3u);
    EXPECT_EQ(bindings.find(key(2)), nullptr);
    EXPECT_NE(bindings.find(key(1)), nullptr);
    EXPECT_NE(bindings.find(key(3)), nullptr);
    EXPECT_NE(bindings.find(key(4)), nullptr);
}

TEST(Bindings, AHigherEpochStays) {
    Bindings bindings(2);
    bindings.put(key(1), {"a", 5, false, 0});
    bindings.put(key(1), {"b", 4, false, 0});
    EXPECT_EQ(bindings.find(key(1))->node_id, "a");
    bindings.put(key(1), {"c", 5, false, 0});
    EXPECT_EQ(bindings.find(key(1))->node_id, "c");
    bindings.put(key(1), {"d", 6, true, 0});
    EXPECT_EQ(bindings.find(key(1))->node_id, "d");
    EXPECT_TRUE(bindings.find(key(1))->moved);
    EXPECT_EQ(bindings.size(), 1u);
}

TEST(Bindings, NoCapacityNoMemory) {
    Bindings bindings(0);
    bindings.put(key(1), {"a", 1, false, 0});
    EXPECT_EQ(bindings.find(key(1)), nullptr);
    EXPECT_EQ(bindings.size(), 0u);
}

}  // namespace
}  // namespace hearth
