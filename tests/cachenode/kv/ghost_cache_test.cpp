// The ghost cache knows what was ever stored, to the token, and nothing else.
#include "cachenode/kv/ghost_cache.h"

#include <gtest/gtest.h>

#include <set>

#include "common/base/rng.h"

namespace hearth {
namespace {

using Ids = std::vector<engine::TokenId>;

TEST(GhostCache, EqualsAListOfAllThatWasStored) {
    constexpr std::uint64_t kSeed = 3;
    SCOPED_TRACE(kSeed);
    Rng rng(kSeed);
    GhostCache ghosts(1, 1, 1 << 20);
    std::vector<Ids> stored;
    for (int round = 0; round < 300; ++round) {
        Ids chat;
        if (!stored.empty() && rng.below(4) > 0) {
            chat = stored[rng.below(stored.size())];
            chat.resize(rng.below(chat.size() + 1));
        }
        for (std::uint64_t more = rng.below(90); more > 0; --more) {
            chat.push_back(static_cast<engine::TokenId>(rng.below(3)));
        }
        std::int64_t best = 0;
        for (const Ids& other : stored) {
            const auto ends = std::mismatch(chat.begin(), chat.end(), other.begin(), other.end());
            best = std::max<std::int64_t>(best, ends.first - chat.begin());
        }
        const std::int64_t found = ghosts.longest("a", chat);
        EXPECT_LE(found, best);
        EXPECT_GE(found, best - 63) << "no more than the branches of one page are forgotten";
        EXPECT_EQ(ghosts.longest("b", chat), 0);
        ghosts.store("a", chat);
        EXPECT_EQ(ghosts.longest("a", chat), std::ssize(chat));
        stored.push_back(chat);
    }
}

TEST(GhostCache, SamplesOneInSoManyAndIsBounded) {
    const GhostCache ghosts(1, 100, 1000), none(1, 0, 1000);
    int sampled = 0;
    Rng rng(5);
    for (int i = 0; i < 20'000; ++i) {
        const SessionKey key{rng.next(), rng.next()};
        sampled += ghosts.samples(key) ? 1 : 0;
        EXPECT_FALSE(none.samples(key));
    }
    EXPECT_NEAR(sampled, 200, 60);
    GhostCache small(1, 1, 10);
    for (int i = 0; i < 100; ++i) small.store("", Ids(1000, i));
    EXPECT_LE(small.pages(), 12u);
}

}  // namespace
}  // namespace hearth
