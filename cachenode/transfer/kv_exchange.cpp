// Sessions out of the tree and the ledger, and into them.
#include "cachenode/transfer/kv_exchange.h"

#include <algorithm>
#include <cstring>

#include "cachenode/scheduler/turn_log.h"
#include "common/base/check.h"
#include "engine/model/kv_layout.h"

namespace hearth {
namespace {

constexpr auto kPage = static_cast<std::int64_t>(engine::kPageTokens);
// Blank pages of one import: of some batches, and no more than a share of the pool.
constexpr std::size_t kBlankBytes = 20 << 20;
constexpr std::int64_t kBlankShare = 16;
constexpr std::int64_t kBlanksMax = 512;  // Small pages are copied as quickly.

std::span<const engine::TokenId> first(const std::vector<engine::TokenId>& tokens,
                                       std::int64_t count) {
    return std::span(tokens).first(static_cast<std::size_t>(count));
}

// Whether a restore would read anything behind the lease's pages.
bool disk_has_more(const KvView& kv, const PrefixTree::Lease& lease,
                   std::span<const engine::TokenId> wanted) {
    if (kv.disk == nullptr || lease.tokens() == std::ssize(wanted)) return false;
    const auto found =
        kv.disk->find(lease.end(), wanted.subspan(lease.pages().size() * engine::kPageTokens));
    return !found.empty() && static_cast<std::int64_t>(found.back().first + found.back().tokens) >
                                 lease.tail_tokens();
}

}  // namespace

bool restore_session(KvView& kv, const SessionKey& key, const std::string& salt,
                     KvView::Then then) {
    const SessionTurn* const last = kv.ledger.find(key, salt);
    if (last == nullptr || !kv.restore) return false;
    // Not a use: it is as old as the session's last turn.
    const PrefixUse use{
        .now = last->ended, .follow_up = last->turn >= 2, .owner = session_tag(key)};
    const auto wanted = first(last->tokens, last->stored);
    return kv.restore(salt, {wanted.begin(), wanted.end()}, use, std::move(then));
}

std::optional<HeldSession> hold_session(KvView& kv, const SessionKey& key,
                                        const std::string& salt) {
    const SessionTurn* const last = kv.ledger.find(key, salt);
    if (last == nullptr) return std::nullopt;
    HeldSession held;
    held.lease = kv.tier.tree().peek(salt, first(last->tokens, last->stored));
    // What is pinned cannot be evicted for those who were promised it.
    if (kv.tier.pages_available() < 0 || held.lease.tokens() == 0) return std::nullopt;
    held.pages = held.lease.cached_pages();
    held.is_busy = kv.is_busy && kv.is_busy(key);
    held.has_more = disk_has_more(kv, held.lease, first(last->tokens, last->stored));
    WireSession& session = held.session;
    session.key = key;
    session.salt = salt;
    session.tokens = last->tokens;
    session.stored = held.lease.tokens();
    session.unstored = last->unstored;
    if (session.stored < last->stored) session.unstored = MissReason::kEvicted;
    session.turn = last->turn;
    session.age_ms = std::max<std::int64_t>(0, kv.now - last->ended) / kMs;
    return held;
}

std::optional<HeldSession> hold_pages(KvView& kv, const SessionKey& key, const std::string& salt,
                                      std::span<const PageHash> names) {
    HeldSession held;
    held.lease = kv.tier.tree().peek(salt, names);
    if (kv.tier.pages_available() < 0 || held.lease.tokens() == 0) return std::nullopt;
    held.pages = held.lease.cached_pages();
    held.session.key = key;
    held.session.salt = salt;
    for (const CachedPage& page : held.pages)
        held.session.tokens.insert(held.session.tokens.end(), page.tokens.begin(),
                                   page.tokens.end());
    held.session.stored = std::ssize(held.session.tokens);
    return held;
}

std::vector<PageHash> page_names(std::uint64_t model_fingerprint, const std::string& salt,
                                 std::span<const engine::TokenId> tokens) {
    std::vector<PageHash> names;
    PageHash last = root_hash(model_fingerprint, salt);
    for (; tokens.size() >= engine::kPageTokens; tokens = tokens.subspan(engine::kPageTokens)) {
        last = chain_hash(last, tokens.first(engine::kPageTokens));
        names.push_back(last);
    }
    return names;
}

bool forget_empty(KvView& kv, const SessionKey& key, const std::string& salt) {
    const SessionTurn* const last = kv.ledger.find(key, salt);
    if (last == nullptr) return true;
    if (kv.is_busy && kv.is_busy(key)) return false;
    const auto wanted = first(last->tokens, last->stored);
    const PrefixTree::Lease here = kv.tier.tree().peek(salt, wanted);
    if (here.tokens() > 0 || disk_has_more(kv, here, wanted)) return false;
    kv.ledger.erase(key, salt);
    return true;
}

void release_session(KvView& kv, HeldSession held) {
    kv.ledger.erase(held.session.key, held.session.salt);
    kv.tier.tree().erase(std::move(held.lease), session_tag(held.session.key));
}

std::optional<SessionImport> SessionImport::begin(KvView& kv, const WireSession& session) {
    PrefixUse use;
    use.now = std::max<MonotonicNs>(1, kv.now - session.age_ms * kMs);
    use.follow_up = session.turn >= 2;
    use.owner = session_tag(session.key);
    SessionImport out(session, use);
    out.lease_ = kv.tier.tree().match(session.salt, first(session.tokens, session.stored), use);
    out.lease_.drop_tail();
    if (kv.tier.pages_available() < 0) return std::nullopt;
    const std::vector<CachedPage> here = out.lease_.cached_pages();
    out.last_ = here.empty() ? kv.tier.tree().root(session.salt) : here.back().hash;
    out.next_page_ = session.first_page;
    if (out.pages_here() < session.first_page) out.is_broken_ = true;
    out.stock_blanks(kv);
    return out;
}

bool SessionImport::take(KvView& kv, const std::vector<WirePage>& pages) {
    for (const WirePage& page : pages) {
        if (!is_broken_ && !take_one(kv, page)) is_broken_ = true;
        if (is_broken_) return false;
    }
    stock_blanks(kv);
    return true;
}

// Only pages that nobody else was promised.
void SessionImport::stock_blanks(KvView& kv) {
    const PagePool& pool = kv.tier.pool();
    const auto wanted = std::min({static_cast<std::int64_t>(kBlankBytes / pool.page_bytes()) + 1,
                                  pool.pages_total() / kBlankShare, kBlanksMax});
    const std::int64_t left = session_.stored / kPage + 1 - next_page_;
    while (std::ssize(blanks_) < std::min(wanted, left) && kv.tier.pages_available() >= 1) {
        const bool promised = kv.tier.promise(1);
        CHECK(promised);
        blanks_.push_back(kv.tier.acquire());
    }
    blank_bytes_.clear();
    for (const Page& page : blanks_) blank_bytes_.push_back(page.data());
}

// The blank that it was received into, or a page with a copy of it; empty if there is no room.
Page SessionImport::page_for(KvView& kv, const WirePage& page) {
    const auto blank = std::find_if(blanks_.begin(), blanks_.end(), [&page](const Page& each) {
        return each.data() == page.bytes.get();
    });
    Page own;
    if (blank != blanks_.end()) {
        own = std::move(*blank);
        blanks_.erase(blank);
        return own;
    }
    if (kv.tier.pages_available() < 1) return own;
    const bool promised = kv.tier.promise(1);
    CHECK(promised);
    own = kv.tier.acquire();
    std::memcpy(own.data(), page.bytes.get(), kv.tier.pool().page_bytes());
    return own;
}

bool SessionImport::take_one(KvView& kv, const WirePage& page) {
    if (next_page_++ < pages_here()) return true;
    if (page.before != last_) return false;
    Page own = page_for(kv, page);
    if (!own) return false;
    if (static_cast<std::int64_t>(page.tokens.size()) < kPage) {
        kv.tier.tree().store_tail(lease_, page.tokens, std::move(own), use_, page.checksum);
        return true;
    }
    kv.tier.tree().extend(lease_, page.tokens, std::move(own), use_, page.checksum);
    last_ = page.hash;
    return true;
}

std::int64_t SessionImport::finish(KvView& kv) {
    const std::span<const engine::TokenId> wanted = first(session_.tokens, session_.stored);
    const std::int64_t stored = kv.tier.tree().peek(session_.salt, wanted).tokens();
    lease_.reset();
    blanks_.clear();
    if (kv.write_behind) kv.write_behind(session_.salt, wanted);  // As after a turn.
    SessionTurn turn;
    turn.tokens = std::move(session_.tokens);
    turn.stored = stored;
    turn.unstored = stored < session_.stored ? MissReason::kCapacity : session_.unstored;
    turn.turn = session_.turn;
    turn.ended = use_.now;
    const SessionTurn* const known = kv.ledger.find(session_.key, session_.salt);
    if (known != nullptr && known->turn > turn.turn) return std::min(stored, known->stored);
    kv.ledger.put(session_.key, session_.salt, std::move(turn));
    return stored;
}

ErasedSession erase_session(KvView& kv, const SessionKey& key) {
    ErasedSession out;
    for (const auto& [session, salt] : kv.ledger.known()) {
        if (session != key) continue;
        kv.ledger.erase(session, salt);
        ++out.salts;
    }
    if (kv.turns != nullptr) kv.turns->erase(key);
    out.pages = kv.tier.tree().erase(session_tag(key));
    if (kv.disk != nullptr) out.disk_pages = kv.disk->erase(session_tag(key));
    out.bytes =
        (out.pages + out.disk_pages) * static_cast<std::int64_t>(kv.tier.pool().page_bytes());
    return out;
}

}  // namespace hearth
