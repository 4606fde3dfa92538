// GhostList: what became of pages that are no longer cached, so that a later miss gets its reason.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>

#include "cachenode/kv/page_hash.h"

namespace hearth {

enum class PageFate : std::uint8_t { kUnknown = 0, kEvicted = 1, kExpired = 2 };

// Bounded, 8 bytes a ghost: sets of four by hash, in which the oldest memory goes first. A page is
// known by 62 of its hash's bits; a wrong one gives a miss a wrong reason. Owned by the prefix
// tree.
class GhostList {
  public:
    explicit GhostList(std::size_t ghosts_max);  // Rounded up to whole sets.

    void gone(const PageHash& hash, PageFate fate);
    PageFate fate(const PageHash& hash) const;
    void cached_again(const PageHash& hash);
    std::size_t size() const { return size_; }

  private:
    static constexpr std::size_t kWays = 4;
    struct Free {
        void operator()(std::uint64_t* slots) const { std::free(slots); }
    };
    std::uint64_t* set_of(const PageHash& hash) const { return &slots_[hash.low % sets_ * kWays]; }

    std::size_t sets_;
    std::size_t size_ = 0;
    // Of a set the oldest first, zeros last. Memory that was never written takes no room.
    std::unique_ptr<std::uint64_t[], Free> slots_;
};

}  // namespace hearth
