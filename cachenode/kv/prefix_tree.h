// PrefixTree: the index of cached pages. Finds the longest cached prefix of a prompt, token by
// token.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "cachenode/kv/ghost_list.h"
#include "cachenode/kv/page_hash.h"
#include "cachenode/kv/page_pool.h"
#include "common/base/clock.h"
#include "engine/model/config.h"

namespace hearth {

// Who uses pages, and when; decides their age at eviction.
struct PrefixUse {
    MonotonicNs now = 0;
    bool follow_up = false;  // By a turn >= 2.
};

// One node per page; a page in the tree belongs to the tree. Whole pages are found by their chained
// hash, the page where the prompt leaves the tree by the order of its siblings' tokens; ids are
// compared on every hit, so a collision of hashes costs a hit and never an answer. Each salt has a
// root of its own. Invariants: of a parent's children none is a prefix of another; a page shorter
// than 64 tokens has no children. Scheduler's thread only.
class PrefixTree {
    struct Node;

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
        std::int64_t tokens() const;       // In pages and tail.
        void copy_tail(const Page& into);  // All bytes of the tail's page; then unpins it.
        void drop_tail();
        void reset();

      private:
        friend class PrefixTree;
        PrefixTree* tree_ = nullptr;
        Node* last_ = nullptr;  // Of the last page; the root when there is none.
        Node* tail_ = nullptr;
        std::int64_t tail_tokens_ = 0;
        std::vector<std::byte*> pages_;
    };

    // `ghosts_max`: evicted pages that are remembered. `chain`: tests give one that collides.
    using ChainHash = PageHash (*)(const PageHash& before, std::span<const engine::TokenId> tokens);
    PrefixTree(std::uint64_t model_fingerprint, std::size_t page_bytes, std::size_t ghosts_max,
               ChainHash chain = chain_hash);
    ~PrefixTree();  // No lease may be left.
    PrefixTree(const PrefixTree&) = delete;
    PrefixTree& operator=(const PrefixTree&) = delete;

    // The longest cached prefix of `tokens`.
    Lease match(const std::string& salt, std::span<const engine::TokenId> tokens,
                const PrefixUse& use);

    // Stores the next whole page of a leased path (64 tokens) and leads the lease on to it. When
    // the tree has these tokens already, its page stays and the given one is freed: their bytes
    // are the same. Returns where the page's bytes are now.
    std::byte* extend(Lease& lease, std::span<const engine::TokenId> tokens, Page page,
                      const PrefixUse& use);
    // Stores the 1 to 63 last tokens of a sequence after a leased path, unless they are there.
    void store_tail(Lease& lease, std::span<const engine::TokenId> tokens, Page page,
                    const PrefixUse& use);

    // Frees up to `pages` pages by plan_eviction(); returns how many.
    std::int64_t evict(std::int64_t pages);

    // Tokens of the longest prefix of whole pages that are cached, or were until they were evicted.
    std::int64_t known_tokens(const std::string& salt,
                              std::span<const engine::TokenId> tokens) const;

    std::int64_t pages() const { return static_cast<std::int64_t>(nodes_.size()); }
    std::int64_t pages_evictable() const { return pages() - pages_pinned_; }
    std::int64_t pages_evicted() const { return pages_evicted_; }  // Ever.
    // Walks everything and CHECKs the invariants; for tests.
    void check() const;

  private:
    struct ByTokens;

    Node* root_of(const std::string& salt);
    Node* whole_child(Node* at, const PageHash& hash,
                      std::span<const engine::TokenId> tokens) const;
    Node* insert(Node* parent, std::span<const engine::TokenId> tokens, Page page);
    void remove(Node* node);
    void drop_root_if_unused(Node* root);
    void touch(Node* node, const PrefixUse& use);
    void pin(Node* node);
    void unpin(Node* node);

    std::uint64_t model_fingerprint_;
    ChainHash chain_;
    std::size_t page_bytes_;
    std::uint64_t uses_ = 0;
    std::int64_t pages_pinned_ = 0;
    std::int64_t pages_evicted_ = 0;
    GhostList ghosts_;
    std::map<std::string, std::unique_ptr<Node>> roots_;  // By salt.
    std::vector<std::unique_ptr<Node>> nodes_;            // All but the roots, in no order.
    std::unordered_map<PageHash, Node*> whole_pages_;
};

}  // namespace hearth
