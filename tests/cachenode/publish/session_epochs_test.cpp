// SessionEpochs: the bound, and that use keeps an entry.
#include "cachenode/publish/session_epochs.h"

#include <gtest/gtest.h>

namespace hearth {
namespace {

SessionKey key(std::uint64_t n) {
    return {n, ~n};
}

TEST(SessionEpochs, KeepsWhatIsUsed) {
    SessionEpochs epochs(3);
    for (std::uint64_t n = 1; n <= 3; ++n) epochs.touch(key(n)).epoch = static_cast<int>(n) * 10;
    EXPECT_EQ(epochs.touch(key(1)).epoch, 10);  // Now 2 is the one used longest ago.
    epochs.touch(key(4));
    EXPECT_EQ(epochs.size(), 3u);
    EXPECT_FALSE(epochs.find(key(2)).has_value());
    ASSERT_TRUE(epochs.find(key(1)).has_value());
    EXPECT_EQ(epochs.find(key(1))->epoch, 10);
    EXPECT_EQ(epochs.find(key(3))->epoch, 30);
    EXPECT_EQ(epochs.find(key(4))->epoch, 1);
    EXPECT_FALSE(epochs.find(key(4))->settled);
}

TEST(SessionEpochs, StaysBounded) {
    SessionEpochs epochs(100);
    for (std::uint64_t n = 0; n < 10'000; ++n) epochs.touch(key(n % 777));
    EXPECT_EQ(epochs.size(), 100u);
}

}  // namespace
}  // namespace hearth
