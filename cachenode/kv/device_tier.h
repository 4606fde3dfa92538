// DeviceTier: the KV that the engine can read now: the page pool, the tree over it, and who was
// promised what.
#pragma once

#include <cstddef>
#include <cstdint>

#include "cachenode/kv/page_pool.h"
#include "cachenode/kv/prefix_tree.h"

namespace hearth {

// Scheduler's thread. Invariant: promised pages <= free pages + evictable pages, so a sequence that
// was admitted never lacks a page and is never thrown out for another.
class DeviceTier {
  public:
    // A limit of 0 in `policy` for kept pages stands for a quarter of them all.
    DeviceTier(std::size_t page_bytes, std::int64_t bytes_max, std::uint64_t model_fingerprint,
               PrefixTreePolicy policy = {});

    // Sets `pages` aside for a sequence, in number only; false when they cannot be had now.
    bool promise(std::int64_t pages);
    void take_back_promise(std::int64_t pages);
    // What a promise can be made of; negative never.
    std::int64_t pages_available() const {
        return pool_.pages_free() + tree_.pages_evictable() - pages_promised_;
    }
    // Uses up one promise; evicts cached pages when no page is free.
    Page acquire();

    PrefixTree& tree() { return tree_; }
    const PrefixTree& tree() const { return tree_; }
    const PagePool& pool() const { return pool_; }
    PagePool& pool() { return pool_; }
    std::int64_t pages_promised() const { return pages_promised_; }

  private:
    PagePool pool_;  // Before the tree, which gives its pages back to it.
    PrefixTree tree_;
    std::int64_t pages_promised_ = 0;
};

}  // namespace hearth
