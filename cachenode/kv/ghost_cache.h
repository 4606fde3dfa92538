// GhostCache: what an infinite cache that never fails would have hit, of a sample of sessions.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "cachenode/kv/page_hash.h"
#include "common/wire/session_key.h"

namespace hearth {

// Keys only: 16 bytes a page, and the ids of partial pages. Scheduler's thread. Its rate is that of
// the sample; sessions are chosen by their key, so every node samples the same ones.
class GhostCache {
  public:
    // One in `sample` sessions; 1 = all. `pages_max` bounds it: infinite as far as that goes.
    GhostCache(std::uint64_t model_fingerprint, std::uint64_t sample, std::size_t pages_max)
        : model_fingerprint_(model_fingerprint), sample_(sample), pages_max_(pages_max) {}

    bool samples(const SessionKey& session) const {
        return sample_ > 0 && session.high % sample_ == 0;
    }
    // The longest prefix of `tokens` that was ever stored, to the token.
    std::int64_t longest(const std::string& salt, std::span<const engine::TokenId> tokens) const;
    void store(const std::string& salt, std::span<const engine::TokenId> tokens);
    std::size_t pages() const { return pages_.size() + tails_.size(); }

  private:
    static constexpr std::size_t kTailsMax = 8;  // Behind one page; the oldest goes.
    std::uint64_t model_fingerprint_;
    std::uint64_t sample_;
    std::size_t pages_max_;
    std::unordered_set<PageHash> pages_;
    std::unordered_map<PageHash, std::vector<std::vector<engine::TokenId>>> tails_;  // By before.
};

}  // namespace hearth
