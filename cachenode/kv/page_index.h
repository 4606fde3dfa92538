// PageIndex: from a page's hash to its place, in 6 to 11 bytes a page.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "cachenode/kv/page_hash.h"

namespace hearth {

// Open addressing with linear probing over 4-byte ids; the hashes lie with the pages, so every call
// gets a function from id to hash. No two ids in it have the same hash. One owner.
class PageIndex {
  public:
    static constexpr std::int32_t kNone = -1;

    template <typename HashOf>
    std::int32_t find(const PageHash& hash, const HashOf& hash_of) const {
        if (slots_.empty()) return kNone;
        for (std::size_t at = home(hash);; at = next(at)) {
            const std::int32_t id = slots_[at];
            if (id == kNone || hash_of(id) == hash) return id;
        }
    }
    // Does nothing when an id with the same hash is in it.
    template <typename HashOf>
    void insert(std::int32_t id, const HashOf& hash_of) {
        if ((size_ + 1) * 4 > slots_.size() * 3) grow(hash_of);
        if (place(id, hash_of)) ++size_;
    }
    // Does nothing when `id` is not in it.
    template <typename HashOf>
    void erase(std::int32_t id, const HashOf& hash_of) {
        if (slots_.empty()) return;
        std::size_t hole = home(hash_of(id));
        for (; slots_[hole] != id; hole = next(hole)) {
            if (slots_[hole] == kNone) return;
        }
        // Those behind it move up, unless they would come before their home.
        for (std::size_t at = next(hole); slots_[at] != kNone; at = next(at)) {
            const std::size_t from_home = (at - home(hash_of(slots_[at]))) & (slots_.size() - 1);
            if (from_home < ((at - hole) & (slots_.size() - 1))) continue;
            slots_[hole] = slots_[at];
            hole = at;
        }
        slots_[hole] = kNone;
        --size_;
    }
    std::size_t size() const { return size_; }
    std::size_t bytes() const { return slots_.capacity() * sizeof(std::int32_t); }

  private:
    std::size_t home(const PageHash& hash) const { return hash.low & (slots_.size() - 1); }
    std::size_t next(std::size_t at) const { return (at + 1) & (slots_.size() - 1); }
    template <typename HashOf>
    bool place(std::int32_t id, const HashOf& hash_of) {
        const PageHash hash = hash_of(id);
        std::size_t at = home(hash);
        for (; slots_[at] != kNone; at = next(at)) {
            if (hash_of(slots_[at]) == hash) return false;
        }
        slots_[at] = id;
        return true;
    }
    template <typename HashOf>
    void grow(const HashOf& hash_of) {
        std::vector<std::int32_t> before(slots_.empty() ? 64 : 2 * slots_.size(), kNone);
        before.swap(slots_);
        for (const std::int32_t id : before) {
            if (id != kNone) place(id, hash_of);
        }
    }

    std::vector<std::int32_t> slots_;  // A power of two of them.
    std::size_t size_ = 0;
};

}  // namespace hearth
