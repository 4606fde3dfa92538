// The prefix tree: token-exact matches, siblings, supersession, pins, eviction, salts.
#include "cachenode/kv/prefix_tree.h"

#include <gtest/gtest.h>

#include <cstring>
#include <utility>

namespace hearth {
namespace {

using engine::TokenId;
using Ids = std::vector<TokenId>;

Ids ids(std::int64_t count, TokenId first = 0) {
    Ids out;
    for (std::int64_t i = 0; i < count; ++i) out.push_back(first + static_cast<TokenId>(i));
    return out;
}

Ids operator+(Ids a, const Ids& b) {
    a.insert(a.end(), b.begin(), b.end());
    return a;
}

class PrefixTreeTest : public ::testing::Test {
  protected:
    static constexpr std::size_t kPageBytes = 128;

    // Stores a whole sequence; each page begins with the first token that it holds.
    void store(const Ids& tokens, const std::string& salt = "", bool follow_up = false) {
        const std::span<const TokenId> all(tokens);
        const PrefixUse use{++now_, follow_up};
        PrefixTree::Lease lease = tree_.match(salt, {}, use);
        for (std::size_t at = 0; at < tokens.size(); at += 64) {
            Page page = pool_.acquire();
            ASSERT_TRUE(page);
            std::memcpy(page.data(), &tokens[at], sizeof(TokenId));
            const std::size_t size = std::min<std::size_t>(64, tokens.size() - at);
            if (size == 64) {
                tree_.extend(lease, all.subspan(at, size), std::move(page), use);
            } else {
                tree_.store_tail(lease, all.subspan(at, size), std::move(page), use);
            }
        }
        tree_.check();
        EXPECT_EQ(pool_.pages_used(), tree_.pages());
    }

    std::int64_t matched(const Ids& tokens, const std::string& salt = "") {
        const PrefixTree::Lease lease = tree_.match(salt, tokens, {++now_, false});
        for (std::size_t i = 0; i < lease.pages().size(); ++i) {
            EXPECT_EQ(std::memcmp(lease.pages()[i], &tokens[i * 64], sizeof(TokenId)), 0);
        }
        return lease.tokens();
    }

    MonotonicNs now_ = 0;
    PagePool pool_{kPageBytes, 200 * kPageBytes};
    PrefixTree tree_{42, kPageBytes, 100};
};

TEST_F(PrefixTreeTest, MatchesToTheToken) {
    EXPECT_EQ(matched(ids(100)), 0);
    store(ids(200));
    for (const std::int64_t length : {1, 2, 63, 64, 65, 127, 128, 129, 199, 200}) {
        EXPECT_EQ(matched(ids(length)), length);
        EXPECT_EQ(matched(ids(length) + Ids{9999}), length);
    }
    EXPECT_EQ(matched(ids(200) + ids(100, 5000)), 200);
    EXPECT_EQ(matched(Ids{77}), 0);
}

TEST_F(PrefixTreeTest, PicksTheSiblingThatSharesMost) {
    const Ids head = ids(64);
    store(head + ids(30, 100));
    store(head + ids(20, 100) + ids(40, 900));
    store(head + ids(10, 100) + ids(64, 300));
    EXPECT_EQ(tree_.pages(), 5);  // The last one is 64 + 74 tokens.
    EXPECT_EQ(matched(head + ids(28, 100) + Ids{1}), 64 + 28);
    EXPECT_EQ(matched(head + ids(20, 100) + ids(5, 900)), 64 + 25);
    EXPECT_EQ(matched(head + ids(10, 100) + ids(50, 300)), 64 + 60);
    EXPECT_EQ(matched(head + ids(5, 100) + Ids{1}), 64 + 5);
}

TEST_F(PrefixTreeTest, ALongerPageSupersedesItsPrefix) {
    store(ids(10));
    store(ids(30));
    EXPECT_EQ(tree_.pages(), 1);
    store(ids(20));  // Known already.
    EXPECT_EQ(tree_.pages(), 1);
    store(ids(64));
    EXPECT_EQ(tree_.pages(), 1);
    store(ids(40));
    EXPECT_EQ(tree_.pages(), 1);
    EXPECT_EQ(matched(ids(64)), 64);
}

TEST_F(PrefixTreeTest, TheSameTokensAreStoredOnce) {
    store(ids(300));
    store(ids(300));
    EXPECT_EQ(tree_.pages(), 5);
    EXPECT_EQ(pool_.pages_used(), 5);
}

TEST_F(PrefixTreeTest, SaltsAreSeparateTrees) {
    store(ids(100), "a");
    EXPECT_EQ(matched(ids(100), "b"), 0);
    EXPECT_EQ(matched(ids(100), ""), 0);
    EXPECT_EQ(matched(ids(100), "a"), 100);
    EXPECT_EQ(tree_.known("b", ids(100)).tokens, 0);
    store(ids(100), "b");
    EXPECT_EQ(tree_.pages(), 4);
}

TEST_F(PrefixTreeTest, CopyingATailGivesItsBytes) {
    store(ids(80));
    PrefixTree::Lease lease = tree_.match("", ids(70), {++now_, false});
    ASSERT_EQ(lease.tail_tokens(), 6);
    EXPECT_EQ(tree_.evict(100), 0) << "all of it is pinned";
    Page copy = pool_.acquire();
    lease.copy_tail(copy);
    const TokenId first = 64;
    EXPECT_EQ(std::memcmp(copy.data(), &first, sizeof(first)), 0);
    EXPECT_EQ(lease.tail_tokens(), 0);
    EXPECT_EQ(tree_.evict(100), 1);  // The tail; the page before it is still leased.
    lease.reset();
    EXPECT_EQ(tree_.evict(100), 1);
    EXPECT_EQ(tree_.pages_evicted(), 2);
}

TEST_F(PrefixTreeTest, EvictsTheLongestUnusedLeafAndRemembersIt) {
    const Ids head = ids(64);
    store(head + ids(64, 100));
    store(head + ids(64, 200));
    matched(head + ids(64, 100));
    EXPECT_EQ(tree_.evict(1), 1);
    EXPECT_EQ(matched(head + ids(64, 200)), 64);
    EXPECT_EQ(matched(head + ids(64, 100)), 128);
    EXPECT_EQ(tree_.known("", head + ids(64, 200)).tokens, 128);
    EXPECT_EQ(tree_.known("", head + ids(64, 201)).tokens, 64);
    EXPECT_EQ(tree_.evict(100), 2);
    EXPECT_EQ(tree_.pages(), 0);
    EXPECT_EQ(pool_.pages_used(), 0);
    EXPECT_EQ(tree_.known("", head + ids(64, 200)).tokens, 128);
    store(head);
    tree_.check();
}

TEST_F(PrefixTreeTest, FollowUpsOutliveFirstTurns) {
    store(ids(64, 100), "", true);
    store(ids(64, 200), "", false);
    EXPECT_EQ(tree_.evict(1), 1);
    EXPECT_EQ(matched(ids(64, 100)), 64);
}

TEST_F(PrefixTreeTest, LeasesMoveAndUnpinOnce) {
    store(ids(128));
    PrefixTree::Lease a = tree_.match("", ids(128), {++now_, false});
    PrefixTree::Lease b = std::move(a);
    PrefixTree::Lease c;
    c = std::move(b);
    EXPECT_EQ(tree_.pages_evictable(), 0);
    c.reset();
    c.reset();
    EXPECT_EQ(tree_.pages_evictable(), 2);
    tree_.check();
}

// Two chats whose pages all have one hash: hits are lost, answers are not.
TEST_F(PrefixTreeTest, ACollisionOfHashesNeverGivesAWrongPage) {
    const auto collide = [](const PageHash&, std::span<const TokenId>) { return PageHash{1, 2}; };
    PrefixTree tree(1, kPageBytes, 10, collide);
    const std::vector<Ids> chats = {ids(200), ids(200, 7), ids(100) + ids(100, 7)};
    for (const Ids& chat : chats) {
        const std::span<const TokenId> all(chat);
        PrefixTree::Lease lease = tree.match("", {}, {});
        for (std::size_t at = 0; at + 64 <= chat.size(); at += 64) {
            Page page = pool_.acquire();
            std::memcpy(page.data(), &chat[at], sizeof(TokenId));
            const std::byte* const stored =
                tree.extend(lease, all.subspan(at, 64), std::move(page), {});
            EXPECT_EQ(std::memcmp(stored, &chat[at], sizeof(TokenId)), 0);
        }
    }
    tree.check();
    for (const Ids& chat : chats) {
        const PrefixTree::Lease lease = tree.match("", chat, {});
        EXPECT_GE(lease.tokens(), 63);
        for (std::size_t i = 0; i < lease.pages().size(); ++i) {
            EXPECT_EQ(std::memcmp(lease.pages()[i], &chat[i * 64], sizeof(TokenId)), 0);
        }
    }
    EXPECT_EQ(tree.match("other", chats[0], {}).tokens(), 0);
    EXPECT_EQ(tree.evict(100), 8);
}

TEST_F(PrefixTreeTest, LongChainsDoNotRecurse) {
    PagePool pool(64, 64LL * 100'000);
    PrefixTree tree(1, 64, 0);
    PrefixTree::Lease lease = tree.match("", {}, {});
    const Ids page_ids = ids(64);
    for (int i = 0; i < 100'000; ++i) tree.extend(lease, page_ids, pool.acquire(), {});
    EXPECT_EQ(lease.tokens(), 6'400'000);
    lease.reset();
    EXPECT_EQ(tree.evict(50'000), 50'000);
}

// Every byte of a page counts: one that changed is not found, and computing it anew heals it.
TEST_F(PrefixTreeTest, AChangedByteIsAMissUntilHealed) {
    const Ids chat = ids(64) + ids(64, 100) + ids(20, 200);
    for (const std::size_t page : {0u, 1u, 2u}) {
        for (std::size_t byte = 0; byte < kPageBytes; byte += 9) {
            store(chat);
            std::byte* bytes = nullptr;
            {
                const PrefixTree::Lease lease = tree_.peek("", chat);
                bytes = const_cast<std::byte*>(lease.cached_pages()[page].bytes);
            }
            const std::int64_t before = tree_.pages_corrupt();
            bytes[byte] ^= std::byte{0x10};
            {
                const PrefixTree::Lease lease = tree_.match("", chat, {++now_});
                EXPECT_TRUE(lease.was_corrupt());
                EXPECT_EQ(lease.tokens(), static_cast<std::int64_t>(page) * 64);
            }
            EXPECT_EQ(matched(chat), static_cast<std::int64_t>(page) * 64);
            EXPECT_EQ(tree_.pages_corrupt(), before + 1) << "counted once";
            store(chat);
            EXPECT_EQ(tree_.pages(), 3);
            EXPECT_EQ(matched(chat), 148);
            tree_.evict(100);
        }
    }
}

TEST_F(PrefixTreeTest, SoftPinsOutliveOthersUpToTheirLimit) {
    PrefixTree tree(1, kPageBytes, 10, chain_hash, {.kept_pages_max = 2});
    const auto add = [&](TokenId first, const PrefixUse& use) {
        PrefixTree::Lease lease = tree.match("", {}, use);
        tree.extend(lease, ids(64, first), pool_.acquire(), use);
    };
    const auto has = [&](TokenId first) { return !tree.peek("", ids(64, first)).pages().empty(); };
    add(1000, {.now = 1, .keep_until = 100 * kSecond});
    add(2000, {.now = 2, .keep_until = 50 * kSecond});
    add(3000, {.now = 3, .keep_until = 100 * kSecond});  // Beyond the limit: as any other.
    add(4000, {.now = 9 * kSecond, .follow_up = true, .follow_up_bonus = 10 * kSecond});
    EXPECT_EQ(tree.pages_kept(), 2);
    tree.check();
    EXPECT_EQ(tree.evict(1), 1);
    EXPECT_FALSE(has(3000));
    EXPECT_EQ(tree.evict(1), 1);
    EXPECT_FALSE(has(4000));
    EXPECT_EQ(tree.evict(1), 1);
    EXPECT_FALSE(has(2000));
    EXPECT_EQ(tree.evict(9), 1) << "a pin never wedges the pool";
    EXPECT_EQ(tree.pages_kept(), 0);
    // A pin that is over gives its room back.
    add(1000, {.now = 1, .keep_until = 5 * kSecond});
    add(2000, {.now = 2, .keep_until = 5 * kSecond});
    add(3000, {.now = 6 * kSecond, .keep_until = 50 * kSecond});
    EXPECT_EQ(tree.pages_kept(), 1);
    tree.check();
}

TEST_F(PrefixTreeTest, UnusedPagesExpire) {
    PrefixTree tree(1, kPageBytes, 10, chain_hash, {.ttl = 10 * kSecond});
    const Ids chat = ids(128);
    {
        const PrefixUse use{.now = kSecond, .follow_up = true};
        PrefixTree::Lease lease = tree.match("", {}, use);
        tree.extend(lease, ids(64), pool_.acquire(), use);
        tree.extend(lease, ids(64, 64), pool_.acquire(), use);
        EXPECT_EQ(tree.expire(100 * kSecond), 0) << "in use";
    }
    EXPECT_EQ(tree.expire(10 * kSecond), 0);
    tree.match("", ids(64), {.now = 8 * kSecond});
    EXPECT_EQ(tree.expire(11 * kSecond), 1) << "the bonus is no longer life";
    EXPECT_EQ(tree.known("", chat).fate, PageFate::kExpired);
    EXPECT_EQ(tree.expire(17 * kSecond), 0);
    EXPECT_EQ(tree.expire(18 * kSecond), 1);
    EXPECT_EQ(tree.pages_expired(), 2);
    tree.check();
}

TEST_F(PrefixTreeTest, ErasesWhatOneSessionAloneUsed) {
    const Ids persona = ids(64);
    const auto add = [&](const Ids& chat, std::uint32_t owner) {
        const PrefixUse use{.now = ++now_, .owner = owner};
        PrefixTree::Lease lease = tree_.match("", chat, use);
        lease.drop_tail();
        const auto have = static_cast<std::size_t>(lease.tokens());
        const std::span<const TokenId> all(chat);
        for (std::size_t at = have; at < chat.size(); at += 64) {
            const std::size_t size = std::min<std::size_t>(64, chat.size() - at);
            Page page = pool_.acquire();
            if (size == 64) {
                tree_.extend(lease, all.subspan(at, 64), std::move(page), use);
            } else {
                tree_.store_tail(lease, all.subspan(at, size), std::move(page), use);
            }
        }
    };
    add(persona + ids(100, 1000), 7);
    add(persona + ids(64, 1000) + ids(40, 2000), 7);  // Another reply of the same session.
    add(persona + ids(30, 5000), 8);
    tree_.check();
    EXPECT_EQ(tree_.pages(), 5);
    EXPECT_EQ(tree_.erase(9), 0);
    EXPECT_EQ(tree_.erase(7), 3);
    tree_.check();
    EXPECT_EQ(matched(persona + ids(64, 1000)), 64) << "the persona is another session's too";
    EXPECT_EQ(tree_.erase(8), 1);
    EXPECT_EQ(tree_.pages(), 1);
}

}  // namespace
}  // namespace hearth
