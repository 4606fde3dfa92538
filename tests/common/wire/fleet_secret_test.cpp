// Who is on this machine, and what only seems to be; secrets compared whole.
#include "common/wire/fleet_secret.h"

#include <gtest/gtest.h>

namespace hearth {
namespace {

TEST(FleetSecret, LoopbackIsThisMachineAndNoNameThatLooksLikeIt) {
    for (const char* address :
         {"127.0.0.1", "127.0.0.1:80", "127.8.9.10:1", "::1", "[::1]:8081", "::ffff:127.0.0.1",
          "[::ffff:127.0.0.1]:80", "localhost", "localhost:8081"})
        EXPECT_TRUE(is_loopback(address)) << address;
    for (const char* address :
         {"", "127.evil.example", "127.0.0.1.evil.example:8081", "128.0.0.1", "10.0.0.1:80", "::2",
          "::10", "[::2]:80", "[::1", "[::1]x", "localhost.evil.example", "localhosts",
          "evil.example:80", "::ffff:10.0.0.1", "["})
        EXPECT_FALSE(is_loopback(address)) << address;
}

TEST(FleetSecret, SameOnlyIfAllOfItIs) {
    EXPECT_TRUE(same_secret("0123456789abcdef", "0123456789abcdef"));
    for (const char* other : {"", "0123456789abcdeX", "0123456789abcde", "0123456789abcdef0"})
        EXPECT_FALSE(same_secret("0123456789abcdef", other)) << other;
}

}  // namespace
}  // namespace hearth
