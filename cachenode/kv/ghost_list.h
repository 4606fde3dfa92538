// GhostList: what became of pages that are no longer cached, so that a later miss gets its reason.
#pragma once

#include <cstddef>
#include <unordered_map>
#include <vector>

#include "cachenode/kv/page_hash.h"

namespace hearth {

// Bounded; the oldest memory goes first. So far the one fate of a page is to be evicted.
// Owned by the prefix tree.
class GhostList {
  public:
    explicit GhostList(std::size_t ghosts_max);

    void evicted(const PageHash& hash);
    bool was_evicted(const PageHash& hash) const { return known_.contains(hash); }
    void cached_again(const PageHash& hash) { known_.erase(hash); }
    std::size_t size() const { return known_.size(); }

  private:
    std::size_t ghosts_max_;
    std::vector<PageHash> ring_;  // In order of eviction; may name pages that came back.
    std::size_t next_ = 0;
    std::unordered_map<PageHash, std::size_t> known_;  // To its slot of the ring.
};

}  // namespace hearth
