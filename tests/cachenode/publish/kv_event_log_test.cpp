// KvEventLog: what a prefix tree does becomes events from which its whole pages can be told.
#include "cachenode/publish/kv_event_log.h"

#include <gtest/gtest.h>

#include <cstring>
#include <map>
#include <set>

#include "common/base/rng.h"

namespace hearth {
namespace {

using engine::TokenId;
using Ids = std::vector<TokenId>;
using Kind = KvEvent::Kind;

class KvEventLogTest : public ::testing::Test {
  protected:
    static constexpr std::size_t kPageBytes = 128;

    explicit KvEventLogTest(std::size_t pages_max = 1'000) : log_(pages_max, [this] { ++rings_; }) {
        tree_.observe([this](const PageEvent& event) { log_.page_changed(event); });
    }

    void store(const Ids& tokens, const std::string& salt = "") {
        const std::span<const TokenId> all(tokens);
        const PrefixUse use{.now = ++now_, .owner = 1};
        PrefixTree::Lease lease = tree_.match(salt, {}, use);
        for (std::size_t at = 0; at < tokens.size(); at += 64) {
            if (pool_.pages_free() == 0) tree_.evict(1);
            Page page = pool_.acquire();
            ASSERT_TRUE(page);
            std::memset(page.data(), static_cast<int>(tokens[at] & 0x7f), kPageBytes);
            const std::size_t size = std::min<std::size_t>(64, tokens.size() - at);
            if (size == 64) {
                tree_.extend(lease, all.subspan(at, size), std::move(page), use);
            } else {
                tree_.store_tail(lease, all.subspan(at, size), std::move(page), use);
            }
        }
    }

    static Ids ids(std::size_t count, TokenId first = 0) {
        Ids out(count);
        for (TokenId& id : out) id = first++;
        return out;
    }

    int rings_ = 0;
    MonotonicNs now_ = 0;
    KvEventLog log_;
    PagePool pool_{kPageBytes, 40 * kPageBytes};
    PrefixTree tree_{42, kPageBytes, 100};
};

TEST_F(KvEventLogTest, PagesInARowAreOneEventAndTailsNone) {
    const Ids tokens = ids(200);
    store(tokens);
    EXPECT_EQ(rings_, 1);
    std::vector<KvEvent> events = log_.take();
    ASSERT_EQ(events.size(), 1u);
    EXPECT_EQ(events[0].kind, Kind::kStored);
    EXPECT_EQ(events[0].parent, std::nullopt);
    EXPECT_EQ(events[0].tokens, ids(192));
    PageHash hash = root_hash(42, "");
    for (std::size_t i = 0; i < 3; ++i) {
        hash = chain_hash(hash, std::span(tokens).subspan(64 * i, 64));
        EXPECT_EQ(events[0].hashes[i], hash.low);
    }
    EXPECT_EQ(events[0].hashes.size(), 3u);
    EXPECT_EQ(events[0].salt_digest, "");

    store(ids(256));  // One more page, in place of the tail.
    const std::uint64_t third = events[0].hashes[2];
    events = log_.take();
    EXPECT_EQ(rings_, 2);
    ASSERT_EQ(events.size(), 1u);
    EXPECT_EQ(events[0].parent, third);
    EXPECT_EQ(events[0].tokens, ids(64, 192));
    EXPECT_TRUE(log_.take().empty());
}

TEST_F(KvEventLogTest, TenantsAreToldApartWithoutTheirSalts) {
    store(ids(128), "one");
    store(ids(128), "other");
    const std::vector<KvEvent> events = log_.take();
    ASSERT_EQ(events.size(), 2u);
    EXPECT_NE(events[0].hashes, events[1].hashes);
    EXPECT_EQ(events[0].salt_digest.size(), 16u);
    EXPECT_NE(events[0].salt_digest, events[1].salt_digest);
    // Neither a salt nor the root that is made of it, which is the key to a tenant's names.
    EXPECT_EQ(events[0].parent, std::nullopt);
    EXPECT_EQ(events[1].parent, std::nullopt);
}

TEST_F(KvEventLogTest, EvictionAndErasureAreTold) {
    store(ids(192));
    const std::vector<std::uint64_t> pages = log_.take().at(0).hashes;
    EXPECT_EQ(tree_.evict(2), 2);
    std::vector<KvEvent> events = log_.take();
    ASSERT_EQ(events.size(), 1u);
    EXPECT_EQ(events[0].kind, Kind::kRemoved);
    EXPECT_EQ(events[0].hashes, (std::vector<std::uint64_t>{pages[2], pages[1]}));
    EXPECT_EQ(tree_.erase(1), 1);
    events = log_.take();
    ASSERT_EQ(events.size(), 1u);
    EXPECT_EQ(events[0].hashes, std::vector<std::uint64_t>{pages[0]});
}

TEST_F(KvEventLogTest, ABadPageIsGoneUntilItIsHealed) {
    store(ids(64));
    const std::vector<std::uint64_t> pages = log_.take().at(0).hashes;
    std::byte* bytes = nullptr;
    {
        const PrefixTree::Lease lease = tree_.match("", ids(64), {.now = ++now_});
        bytes = lease.pages()[0];
    }
    bytes[3] ^= std::byte{1};
    EXPECT_EQ(tree_.match("", ids(64), {.now = ++now_}).tokens(), 0);
    EXPECT_EQ(tree_.match("", ids(64), {.now = ++now_}).tokens(), 0);
    std::vector<KvEvent> events = log_.take();
    ASSERT_EQ(events.size(), 1u);
    EXPECT_EQ(events[0].kind, Kind::kRemoved);
    EXPECT_EQ(events[0].hashes, pages);
    store(ids(64));
    events = log_.take();
    ASSERT_EQ(events.size(), 1u);
    EXPECT_EQ(events[0].kind, Kind::kStored);
    EXPECT_EQ(events[0].hashes, pages);
    EXPECT_EQ(events[0].tokens, ids(64));
}

TEST_F(KvEventLogTest, AReaderKnowsWhatTheTreeHolds) {
    const std::uint64_t seed = 20'261'123;
    Rng rng(seed);
    std::map<std::uint64_t, std::pair<std::optional<std::uint64_t>, Ids>> known;
    for (int round = 0; round < 300; ++round) {
        // A few shared beginnings; 40 pages of memory, so that much is evicted.
        Ids tokens = ids(64 * (1 + rng.below(3)), static_cast<TokenId>(1000 * rng.below(4)));
        const Ids rest = ids(rng.below(400), static_cast<TokenId>(9'000 + rng.below(50)));
        tokens.insert(tokens.end(), rest.begin(), rest.end());
        store(tokens);
        for (const KvEvent& event : log_.take()) {
            std::optional<std::uint64_t> parent = event.parent;
            for (std::size_t i = 0; i < event.hashes.size(); ++i) {
                if (event.kind == Kind::kRemoved) {
                    ASSERT_EQ(known.erase(event.hashes[i]), 1u) << "seed " << seed;
                    continue;
                }
                ASSERT_TRUE(!parent || known.contains(*parent)) << "seed " << seed;
                const auto begin = event.tokens.begin() + static_cast<std::ptrdiff_t>(64 * i);
                const bool is_new =
                    known.try_emplace(event.hashes[i], parent, Ids(begin, begin + 64)).second;
                ASSERT_TRUE(is_new) << "seed " << seed;
                parent = event.hashes[i];
            }
        }
        // What the reader would find of this prompt is what the tree finds.
        PageHash hash = root_hash(42, "");
        std::int64_t found = 0;
        for (std::size_t at = 0; at + 64 <= tokens.size(); at += 64) {
            hash = chain_hash(hash, std::span(tokens).subspan(at, 64));
            if (!known.contains(hash.low)) break;
            found += 64;
        }
        const PrefixTree::Lease lease = tree_.peek("", tokens);
        ASSERT_EQ(found, std::ssize(lease.pages()) * 64) << "seed " << seed << " round " << round;
    }
    EXPECT_GT(tree_.pages_evicted(), 100);
}

class SmallKvEventLogTest : public KvEventLogTest {
  protected:
    SmallKvEventLogTest() : KvEventLogTest(3) {}
};

TEST_F(SmallKvEventLogTest, TooManyEventsBecomeOneThatForgetsThem) {
    store(ids(256));
    std::vector<KvEvent> events = log_.take();
    ASSERT_EQ(events.size(), 2u);
    EXPECT_EQ(events[0].kind, Kind::kCleared);
    EXPECT_EQ(events[1].kind, Kind::kStored);
    EXPECT_TRUE(events[1].parent.has_value());
    EXPECT_EQ(events[1].tokens, ids(64, 192));
    EXPECT_EQ(log_.overflows(), 1);
    log_.clear();
    events = log_.take();
    ASSERT_EQ(events.size(), 1u);
    EXPECT_EQ(events[0].kind, Kind::kCleared);
}

}  // namespace
}  // namespace hearth
