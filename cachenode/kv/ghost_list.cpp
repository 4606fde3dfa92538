// A set-associative table; a slot holds 62 bits of a hash over 2 bits of fate.
#include "cachenode/kv/ghost_list.h"

#include <algorithm>

#include "common/base/check.h"

namespace hearth {
namespace {

constexpr std::uint64_t kFateBits = 3;

std::uint64_t name_of(const PageHash& hash) {
    return hash.high & ~kFateBits;
}

bool names(std::uint64_t slot, const PageHash& hash) {
    return slot != 0 && (slot & ~kFateBits) == name_of(hash);
}

}  // namespace

GhostList::GhostList(std::size_t ghosts_max) : sets_((ghosts_max + kWays - 1) / kWays) {
    if (sets_ == 0) return;
    slots_.reset(static_cast<std::uint64_t*>(std::calloc(sets_ * kWays, sizeof(std::uint64_t))));
    CHECK_MSG(slots_ != nullptr, "no memory for the list of evicted pages");
}

void GhostList::gone(const PageHash& hash, PageFate fate) {
    if (sets_ == 0) return;
    cached_again(hash);  // Anew is newest.
    std::uint64_t* const set = set_of(hash);
    std::uint64_t* place = std::find(set, set + kWays, 0u);
    if (place == set + kWays) {
        std::rotate(set, set + 1, set + kWays);
        --place;
        --size_;
    }
    *place = name_of(hash) | static_cast<std::uint64_t>(fate);
    ++size_;
}

PageFate GhostList::fate(const PageHash& hash) const {
    if (sets_ == 0) return PageFate::kUnknown;
    const std::uint64_t* const set = set_of(hash);
    for (std::size_t way = 0; way < kWays; ++way) {
        if (names(set[way], hash)) return static_cast<PageFate>(set[way] & kFateBits);
    }
    return PageFate::kUnknown;
}

void GhostList::cached_again(const PageHash& hash) {
    if (sets_ == 0) return;
    std::uint64_t* const set = set_of(hash);
    std::uint64_t* const known =
        std::find_if(set, set + kWays, [&](std::uint64_t slot) { return names(slot, hash); });
    if (known == set + kWays) return;
    *known = 0;
    std::rotate(known, known + 1, set + kWays);
    --size_;
}

}  // namespace hearth
