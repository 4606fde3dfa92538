// Sessions from one node's KV into another's: whole, in pieces, into too little room, and erased.
#include "cachenode/transfer/kv_exchange.h"

#include <gtest/gtest.h>

#include <cstring>

#include "engine/model/kv_layout.h"

namespace hearth {
namespace {

constexpr std::size_t kPageBytes = 256;
constexpr std::uint64_t kModel = 7;
const SessionKey kAnna{1, 2}, kOtto{3, 4};
const std::string kSalt = "5a17";

// One node's KV, without a scheduler.
struct Node {
    explicit Node(std::int64_t pages)
        : tier(kPageBytes, pages * static_cast<std::int64_t>(kPageBytes), kModel),
          ledger(100, 1 << 20) {}

    KvView kv() { return {tier, ledger, nullptr, 1'000 * kSecond}; }

    // A session whose tokens are first, first + 1, ... and whose pages' bytes follow from them.
    void play(const SessionKey& key, engine::TokenId first, std::int64_t count) {
        PrefixUse use{.now = 999 * kSecond, .follow_up = true};
        use.owner = session_tag(key);
        std::vector<engine::TokenId> tokens;
        for (std::int64_t i = 0; i < count; ++i)
            tokens.push_back(first + static_cast<engine::TokenId>(i));
        PrefixTree::Lease lease = tier.tree().match(kSalt, {}, use);
        for (std::size_t at = 0; at < tokens.size(); at += engine::kPageTokens) {
            const std::size_t size = std::min<std::size_t>(engine::kPageTokens, tokens.size() - at);
            const auto ids = std::span(tokens).subspan(at, size);
            ASSERT_TRUE(tier.promise(1));
            Page page = tier.acquire();
            std::memset(page.data(), ids.front() & 0xff, kPageBytes);
            if (size == engine::kPageTokens)
                tier.tree().extend(lease, ids, std::move(page), use);
            else
                tier.tree().store_tail(lease, ids, std::move(page), use);
        }
        lease.reset();
        ledger.put(key, kSalt, {tokens, count, MissReason::kDiverged, 2, 999 * kSecond});
    }
    std::int64_t found(engine::TokenId first, std::int64_t count) {
        std::vector<engine::TokenId> tokens;
        for (std::int64_t i = 0; i < count; ++i)
            tokens.push_back(first + static_cast<engine::TokenId>(i));
        return tier.tree().match(kSalt, tokens, {.now = 1'000 * kSecond}).tokens();
    }

    DeviceTier tier;
    SessionLedger ledger;
};

std::vector<WirePage> sent(const HeldSession& held) {
    std::vector<WirePage> out;
    for (std::size_t i = static_cast<std::size_t>(held.session.first_page); i < held.pages.size();
         ++i) {
        const CachedPage& page = held.pages[i];
        WirePage wire{page.before,
                      page.hash,
                      {page.tokens.begin(), page.tokens.end()},
                      page.checksum,
                      std::make_shared<std::byte[]>(kPageBytes)};
        std::memcpy(wire.bytes.get(), page.bytes, kPageBytes);
        out.push_back(std::move(wire));
    }
    return out;
}

std::int64_t move(Node& from, Node& to, const SessionKey& key, std::int64_t first_page = 0) {
    KvView source = from.kv(), target = to.kv();
    auto held = hold_session(source, key, kSalt);
    if (!held) return -1;
    held->session.first_page = first_page;
    auto import = SessionImport::begin(target, held->session);
    if (!import) return -2;
    for (WirePage& page : sent(*held)) import->take(target, {page});
    return import->finish(target);
}

TEST(KvExchange, ASessionArrivesToTheToken) {
    Node from(20), to(20);
    from.play(kAnna, 1'000, 64 * 3 + 17);
    EXPECT_EQ(move(from, to, kAnna), 64 * 3 + 17);
    EXPECT_EQ(to.found(1'000, 64 * 3 + 17), 64 * 3 + 17);
    to.tier.tree().check();
    from.tier.tree().check();
    EXPECT_EQ(to.tier.pages_available(), 20);  // No pin is left.
    EXPECT_EQ(from.tier.pages_available(), 20);
    ASSERT_NE(to.ledger.find(kAnna, kSalt), nullptr);
    EXPECT_EQ(to.ledger.find(kAnna, kSalt)->turn, 2);
    EXPECT_EQ(to.ledger.find(kAnna, kSalt)->stored, 64 * 3 + 17);
    EXPECT_EQ(to.tier.tree().pages_corrupt(), 0);
    EXPECT_EQ(move(from, to, kAnna), 64 * 3 + 17);  // Once more changes nothing.
    EXPECT_EQ(to.tier.tree().pages(), 4);
}

TEST(KvExchange, PagesThatAreThereNeedNotComeAgain) {
    Node from(20), to(20);
    from.play(kAnna, 1'000, 64 * 2);
    ASSERT_EQ(move(from, to, kAnna), 64 * 2);
    from.play(kAnna, 1'000, 64 * 4 + 1);
    EXPECT_EQ(move(from, to, kAnna, 2), 64 * 4 + 1);
    Node empty(20);  // Where they are not there, nothing is taken in their stead.
    EXPECT_EQ(move(from, empty, kAnna, 2), 0);
    EXPECT_EQ(empty.tier.tree().pages(), 0);
}

// Of a session that the peer does not know; names under another salt are other names.
TEST(KvExchange, PagesGoByTheirNames) {
    Node from(20), to(20);
    from.play(kAnna, 1'000, 64 * 3 + 17);
    std::vector<engine::TokenId> prompt;
    for (engine::TokenId i = 0; i < 64 * 3 + 17; ++i) prompt.push_back(1'000 + i);
    std::vector<PageHash> names = page_names(kModel, kSalt, prompt);
    ASSERT_EQ(names.size(), 3u);
    KvView source = from.kv(), target = to.kv();
    EXPECT_FALSE(hold_pages(source, kOtto, "other", names));
    EXPECT_FALSE(hold_pages(source, kOtto, kSalt, page_names(kModel, "other", prompt)));
    EXPECT_FALSE(hold_pages(source, kOtto, kSalt, page_names(kModel + 1, kSalt, prompt)));
    EXPECT_FALSE(hold_pages(source, kOtto, kSalt, {}));
    std::vector<PageHash> gap = names;
    gap.erase(gap.begin() + 1);
    EXPECT_EQ(hold_pages(source, kOtto, kSalt, gap)->session.stored, 64);
    auto held = hold_pages(source, kOtto, kSalt, names);
    ASSERT_TRUE(held);
    auto import = SessionImport::begin(target, held->session);
    ASSERT_TRUE(import);
    EXPECT_TRUE(import->take(target, sent(*held)));
    EXPECT_EQ(import->finish(target), 64 * 3);
    EXPECT_EQ(to.found(1'000, 64 * 3 + 17), 64 * 3);
    held.reset();
    import.reset();
    EXPECT_EQ(from.tier.pages_available(), 20);  // No pin is left.
    EXPECT_EQ(to.tier.pages_available(), 20);
    from.tier.tree().check();
}

TEST(KvExchange, TooLittleRoomTakesThePrefix) {
    Node from(20), to(3);
    from.play(kAnna, 1'000, 64 * 5);
    EXPECT_EQ(move(from, to, kAnna), 64 * 3);
    EXPECT_EQ(to.ledger.find(kAnna, kSalt)->unstored, MissReason::kCapacity);
    to.tier.tree().check();
    Node promised(3);
    ASSERT_TRUE(promised.tier.promise(2));
    EXPECT_EQ(move(from, promised, kAnna), 64);  // What others were promised stays theirs.
    promised.tier.take_back_promise(2);
}

TEST(KvExchange, PromisedPagesAreNotPinned) {
    Node from(5);
    from.play(kAnna, 1'000, 64 * 4);
    ASSERT_TRUE(from.tier.promise(3));
    KvView kv = from.kv();
    EXPECT_FALSE(hold_session(kv, kAnna, kSalt).has_value());
    from.tier.take_back_promise(3);
    EXPECT_TRUE(hold_session(kv, kAnna, kSalt).has_value());
    EXPECT_FALSE(hold_session(kv, kAnna, "other").has_value());
    EXPECT_FALSE(hold_session(kv, kOtto, kSalt).has_value());
}

TEST(KvExchange, AnOlderTurnDoesNotReplaceALaterOne) {
    Node from(20), to(20);
    from.play(kAnna, 1'000, 64);
    to.play(kAnna, 1'000, 64 * 2);
    to.ledger.find(kAnna, kSalt)->turn = 5;
    move(from, to, kAnna);
    EXPECT_EQ(to.ledger.find(kAnna, kSalt)->turn, 5);
    EXPECT_EQ(to.found(1'000, 128), 128);
}

TEST(KvExchange, ReleasedAndErasedPagesAreGoneAndOthersStay) {
    Node node(20);
    node.play(kAnna, 1'000, 64 * 3 + 5);
    node.play(kOtto, 5'000, 64 * 2 + 5);
    KvView kv = node.kv();
    auto held = hold_session(kv, kAnna, kSalt);
    ASSERT_TRUE(held.has_value());
    release_session(kv, std::move(*held));
    EXPECT_EQ(node.tier.tree().pages(), 3);
    EXPECT_EQ(node.ledger.find(kAnna, kSalt), nullptr);
    const ErasedSession erased = erase_session(kv, kOtto);
    EXPECT_EQ(erased.pages, 3);
    EXPECT_EQ(erased.bytes, static_cast<std::int64_t>(3 * kPageBytes));
    EXPECT_EQ(erased.salts, 1);
    EXPECT_EQ(erase_session(kv, kOtto).bytes, 0);
    EXPECT_EQ(node.tier.tree().pages(), 0);
    node.tier.tree().check();
}

}  // namespace
}  // namespace hearth
