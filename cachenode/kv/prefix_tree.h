// PrefixTree: the index of cached pages. Finds the longest cached prefix of a prompt, token by
// token.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "cachenode/kv/eviction.h"
#include "cachenode/kv/ghost_list.h"
#include "cachenode/kv/page_hash.h"
#include "cachenode/kv/page_index.h"
#include "cachenode/kv/page_pool.h"
#include "cachenode/kv/slab.h"
#include "common/base/clock.h"
#include "engine/model/config.h"
#include "engine/model/kv_layout.h"

namespace hearth {

// Who uses pages, and when; decides their rank at eviction.
struct PrefixUse {
    MonotonicNs now = 0;
    bool follow_up = false;  // By a turn >= 2.
    MonotonicNs follow_up_bonus = kFollowUpBonus;
    MonotonicNs keep_until = 0;  // A soft pin; 0 = none.
    std::uint32_t owner = 0;     // The session's tag; 0 = of no session.
};

// A page in the tree as other tiers see it; lives as long as the lease that it comes from.
struct CachedPage {
    PageHash hash, before;                    // `before`: of the page in front of it, or the root.
    std::span<const engine::TokenId> tokens;  // 1 to 64.
    std::uint64_t checksum = 0;
    const std::byte* bytes = nullptr;
    std::uint32_t owner = 0;
};

// A whole page that can be found from now on, or no longer. What it points to lives for the call.
struct PageEvent {
    enum class Kind { kStored, kRemoved };
    Kind kind = Kind::kStored;
    PageHash hash;
    const PageHash* before = nullptr;  // Null: the first page of its salt, behind the root.
    std::span<const engine::TokenId> tokens;
    std::string_view salt;  // Of a first page that was stored.
};
using PageObserver = std::function<void(const PageEvent&)>;

// What is known of a prompt's first pages.
struct KnownPrefix {
    std::int64_t tokens = 0;             // In whole pages: cached, or were until they went.
    PageFate fate = PageFate::kUnknown;  // Of the first that is not cached.
};

struct PrefixTreePolicy {
    bool verify = true;               // Pages' checksums, whenever they are found.
    std::int64_t kept_pages_max = 0;  // That soft pins may hold together.
    MonotonicNs ttl = 0;              // Unused pages go after so long; 0 = never.
};

// One node per page; a page in the tree belongs to the tree. Whole pages are found by their chained
// hash, the page where the prompt leaves the tree by the order of its siblings' tokens; ids are
// compared on every hit, so a collision of hashes costs a hit and never an answer; so does a page
// whose bytes have changed. Each salt has a root of its own. Invariants: of a parent's children
// none is a prefix of another; a page shorter than 64 tokens has no children. Scheduler's thread
// only.
class PrefixTree {
    using NodeId = std::int32_t;
    static constexpr NodeId kNone = -1;

  public:
    // A pinned path of whole pages from the root: none of them is evicted while it lives. It may
    // also pin a tail: a page whose first tail_tokens() tokens go on with the prompt, to be copied.
    // One owner, on the scheduler's thread; must not outlive the tree.
    class Lease {
      public:
        Lease() = default;
        Lease(Lease&& other) noexcept { *this = std::move(other); }
        Lease& operator=(Lease&& other) noexcept;
        ~Lease() { reset(); }

        // KV of tokens [64 i, 64 i + 64) each. Read-only: other sequences read them too.
        std::span<std::byte* const> pages() const { return pages_; }
        std::int64_t tail_tokens() const { return tail_tokens_; }
        std::int64_t tokens() const;                       // In pages and tail.
        bool was_corrupt() const { return was_corrupt_; }  // It ends before a page gone bad.
        std::vector<CachedPage> cached_pages() const;      // All of the path, then the tail.
        PageHash end() const;              // The name of the last whole page, or of the root.
        void copy_tail(const Page& into);  // All bytes of the tail's page; then unpins it.
        void drop_tail();
        void reset();

      private:
        friend class PrefixTree;
        PrefixTree* tree_ = nullptr;
        NodeId last_ = kNone;  // Of the last page; the root when there is none.
        NodeId tail_ = kNone;
        std::int64_t tail_tokens_ = 0;
        bool was_corrupt_ = false;
        std::vector<std::byte*> pages_;
    };

    // `ghosts_max`: pages gone that are remembered. `chain`: tests give one that collides.
    using ChainHash = PageHash (*)(const PageHash& before, std::span<const engine::TokenId> tokens);
    PrefixTree(std::uint64_t model_fingerprint, std::size_t page_bytes, std::size_t ghosts_max,
               ChainHash chain = chain_hash, PrefixTreePolicy policy = {});
    ~PrefixTree();  // No lease may be left.
    PrefixTree(const PrefixTree&) = delete;
    PrefixTree& operator=(const PrefixTree&) = delete;

    // Tells of every whole page that comes and goes, a parent's coming before its children's. Must
    // not block, nor touch the tree.
    void observe(PageObserver observer) { observer_ = std::move(observer); }

    // The longest cached prefix of `tokens`.
    Lease match(const std::string& salt, std::span<const engine::TokenId> tokens,
                const PrefixUse& use);
    // The same, for other tiers: no use of the pages, and no look at their bytes.
    Lease peek(const std::string& salt, std::span<const engine::TokenId> tokens);
    // The whole pages with these names, each behind the one before, as far as they are here.
    Lease peek(const std::string& salt, std::span<const PageHash> names);

    // Stores the next whole page of a leased path (64 tokens) and leads the lease on to it. When
    // the tree has these tokens already, its page stays and the given one is freed: their bytes
    // are the same. Returns where the page's bytes are now.
    std::byte* extend(Lease& lease, std::span<const engine::TokenId> tokens, Page page,
                      const PrefixUse& use, std::optional<std::uint64_t> checksum = {});
    // Stores the 1 to 63 last tokens of a sequence after a leased path, unless they are there.
    void store_tail(Lease& lease, std::span<const engine::TokenId> tokens, Page page,
                    const PrefixUse& use, std::optional<std::uint64_t> checksum = {});

    // Frees up to `pages` pages by plan(); returns how many.
    std::int64_t evict(std::int64_t pages);
    // Frees pages that nobody used for policy.ttl; returns how many.
    std::int64_t expire(MonotonicNs now);
    // Frees the pages that only the session with this tag used, but for those in use.
    std::int64_t erase(std::uint32_t owner);

    // Ends the lease and frees its pages, from the last one up, as far as only the session with
    // this tag used them; returns how many.
    std::int64_t erase(Lease lease, std::uint32_t owner);

    KnownPrefix known(const std::string& salt, std::span<const engine::TokenId> tokens) const;
    // The name of the root that a salt's pages are chained from.
    PageHash root(const std::string& salt) const { return root_hash(model_fingerprint_, salt); }

    std::int64_t pages() const { return pages_; }
    std::int64_t pages_evictable() const { return pages_ - pages_pinned_; }
    std::int64_t pages_evicted() const { return pages_evicted_; }  // Ever.
    MonotonicNs residence() const { return static_cast<MonotonicNs>(residence_ns_); }
    std::int64_t pages_expired() const { return pages_expired_; }
    std::int64_t pages_corrupt() const { return pages_corrupt_; }  // Found so, ever.
    std::int64_t pages_kept() const { return pages_kept_; }        // By soft pins.
    // Memory of the index, without page bytes, token ids and ghosts.
    std::size_t index_bytes() const;
    // Walks everything and CHECKs the invariants, and that plan() is plan_eviction()'s; for tests.
    void check() const;

  private:
    struct Node {
        PageHash hash;
        std::uint64_t checksum = 0;
        MonotonicNs last_used = 0;
        Page page;
        NodeId parent = kNone;    // kNone for a root, and for a free node.
        NodeId child = kNone;     // The only one; or, at -2 and below, which of fans_ has them.
        std::uint32_t owner = 0;  // The one session that used it; 0 = several, or none.
        std::uint32_t use = 0;
        std::int32_t pins = 0;      // Leases on it or on anything below it.
        std::uint32_t held_ms = 0;  // Its rank is so much after last_used.
        std::uint8_t tokens = 0;    // 0 for a root.
        bool is_kept = false;       // By a soft pin.
        bool is_corrupt = false;    // Not found any more, until its bytes are computed anew.
        bool is_leaf = false;       // In leaves_.
    };
    struct Leaf {
        MonotonicNs rank;
        std::uint32_t use;
        NodeId id;
        auto operator<=>(const Leaf&) const = default;
    };
    using Tokens = std::span<const engine::TokenId>;

    Tokens tokens_of(NodeId id) const;
    std::span<const NodeId> children_of(const Node& node) const;
    std::size_t lower_bound(const Node& parent, Tokens tokens) const;
    void add_child(NodeId parent, NodeId child);
    void remove_child(NodeId parent, NodeId child);

    NodeId root_of(const std::string& salt);
    Lease find(const std::string& salt, Tokens tokens, const PrefixUse* use);
    NodeId whole_child(NodeId at, const PageHash& hash, Tokens tokens) const;
    void find_tail(Lease& lease, Tokens rest, const PrefixUse* use);
    bool is_sound(NodeId id);
    NodeId insert(NodeId parent, Tokens tokens, Page page, const PrefixUse& use,
                  std::optional<std::uint64_t> checksum);
    void heal(NodeId id, const Page& page);
    void remove(NodeId id);
    void drop_root_if_unused(NodeId root);
    void tell(PageEvent::Kind kind, NodeId id) const;
    void touch(NodeId id, const PrefixUse& use);
    void keep(Node& node, const PrefixUse& use);
    void pin(NodeId id);
    void unpin(NodeId id);
    void list_leaf(NodeId id);  // Puts it into leaves_, or out, as it is now.
    Leaf leaf_of(NodeId id) const;
    std::vector<NodeId> plan(std::int64_t pages) const;
    void check_plan() const;
    void check_node(NodeId id) const;

    std::uint64_t model_fingerprint_;
    ChainHash chain_;
    std::size_t page_bytes_;
    PrefixTreePolicy policy_;
    PageObserver observer_;  // Or null.
    std::uint32_t uses_ = 0;
    std::int64_t pages_ = 0, pages_pinned_ = 0, pages_kept_ = 0;
    std::int64_t pages_evicted_ = 0, pages_expired_ = 0, pages_corrupt_ = 0;
    MonotonicNs held_max_ = 0;  // By which a rank has ever been after its last use.
    MonotonicNs kept_counted_ = 0;
    MonotonicNs newest_use_ = 0;
    double residence_ns_ = 0;  // From last use to eviction; of recent victims.
    GhostList ghosts_;
    std::map<std::string, NodeId> roots_;  // By salt.
    std::unordered_map<NodeId, const std::string*> salts_;
    Slab<Node> nodes_;
    Slab<std::array<engine::TokenId, engine::kPageTokens>> ids_;  // Of the same node.
    std::vector<NodeId> free_nodes_;
    std::vector<std::vector<NodeId>> fans_;  // Two children and more, by their tokens.
    std::vector<NodeId> free_fans_;
    PageIndex whole_pages_;
    std::set<Leaf> leaves_;  // What may be evicted now, in the order in which it would be.
};

}  // namespace hearth
