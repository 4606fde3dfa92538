// What a node takes out of its KV for a peer, and puts in from one. Scheduler's thread only.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "cachenode/kv/kv_view.h"
#include "cachenode/transfer/frame.h"

namespace hearth {

// A session whose pages are pinned while this lives, so that other threads may read their bytes.
// The scheduler's thread makes and destroys it.
struct HeldSession {
    WireSession session;
    std::vector<CachedPage> pages;  // From the first one on; the last may be short.
    PrefixTree::Lease lease;
    bool is_busy = false;   // A turn of it runs or waits: there will be more.
    bool has_more = false;  // On the disk, and no room for it in memory now.
};

// Brings back what only the disk has of a session; false: nothing, then `then` is not called.
bool restore_session(KvView& kv, const SessionKey& key, const std::string& salt, KvView::Then then);
// Nothing if the session is unknown here, holds nothing, or turns were promised its pages.
std::optional<HeldSession> hold_session(KvView& kv, const SessionKey& key, const std::string& salt);
// The same of the whole pages with these names, for a session that is unknown here.
std::optional<HeldSession> hold_pages(KvView& kv, const SessionKey& key, const std::string& salt,
                                      std::span<const PageHash> names);
// Names of the whole pages of `tokens`, by which hold_pages() knows them.
std::vector<PageHash> page_names(std::uint64_t model_fingerprint, const std::string& salt,
                                 std::span<const engine::TokenId> tokens);
// Forgets a session of which nothing is here any more; false: there is something.
bool forget_empty(KvView& kv, const SessionKey& key, const std::string& salt);
// Frees what only this session used, after its pages went elsewhere.
void release_session(KvView& kv, HeldSession held);

// One session on its way in. Pages come in their order, and each is pinned from its arrival, so
// that those after it find it. The scheduler's thread makes and destroys it.
class SessionImport {
  public:
    // Nothing when the pages that are here already were promised to turns.
    static std::optional<SessionImport> begin(KvView& kv, const WireSession& session);

    std::int64_t pages_here() const { return std::ssize(lease_.pages()); }
    // Pages of the pool that the next ones may be received into, so that take() need not copy
    // them. Other threads may read this, and write there, while no call of this runs.
    const std::vector<std::byte*>& blanks() const { return blank_bytes_; }
    // Takes pages until one does not follow on what is here, or there is no room for it. False
    // then, and no later one will be taken either.
    bool take(KvView& kv, const std::vector<WirePage>& pages);
    // Enters the session into the ledger, unless a later turn of it ran here. Returns how many of
    // its tokens have their KV here now.
    std::int64_t finish(KvView& kv);

  private:
    SessionImport(WireSession session, PrefixUse use) : session_(std::move(session)), use_(use) {}
    bool take_one(KvView& kv, const WirePage& page);
    Page page_for(KvView& kv, const WirePage& page);
    void stock_blanks(KvView& kv);

    WireSession session_;
    PrefixUse use_;
    PrefixTree::Lease lease_;  // Whole pages of the session that are here.
    PageHash last_;            // Name of the last of them.
    std::int64_t next_page_ = 0;
    bool is_broken_ = false;
    std::vector<Page> blanks_;
    std::vector<std::byte*> blank_bytes_;
};

struct ErasedSession {
    std::int64_t salts = 0;  // Under which it was known.
    std::int64_t pages = 0, disk_pages = 0;
    std::int64_t bytes = 0;  // Of both.
};
// Erases a session here, whatever its tenant; pages that others use too stay.
ErasedSession erase_session(KvView& kv, const SessionKey& key);

}  // namespace hearth
