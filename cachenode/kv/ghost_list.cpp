// A ring of hashes with an index beside it.
#include "cachenode/kv/ghost_list.h"

namespace hearth {

GhostList::GhostList(std::size_t ghosts_max) : ghosts_max_(ghosts_max) {}

void GhostList::evicted(const PageHash& hash) {
    if (ghosts_max_ == 0 || known_.contains(hash)) return;
    if (ring_.size() < ghosts_max_) {
        known_[hash] = ring_.size();
        ring_.push_back(hash);
        return;
    }
    // The hash in this slot may have come back since and been evicted anew, into another slot.
    const auto oldest = known_.find(ring_[next_]);
    if (oldest != known_.end() && oldest->second == next_) known_.erase(oldest);
    known_[hash] = next_;
    ring_[next_] = hash;
    next_ = (next_ + 1) % ghosts_max_;
}

}  // namespace hearth
