// A ring of hashes with a set beside it.
#include "cachenode/kv/ghost_list.h"

namespace hearth {

GhostList::GhostList(std::size_t ghosts_max) : ghosts_max_(ghosts_max) {}

void GhostList::evicted(const PageHash& hash) {
    if (ghosts_max_ == 0 || !known_.insert(hash).second) return;
    if (ring_.size() < ghosts_max_) {
        ring_.push_back(hash);
        return;
    }
    known_.erase(ring_[next_]);
    ring_[next_] = hash;
    next_ = (next_ + 1) % ghosts_max_;
}

}  // namespace hearth
