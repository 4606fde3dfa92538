// A set of page names, and behind each the partial pages that followed it.
#include "cachenode/kv/ghost_cache.h"

#include <algorithm>

#include "engine/model/kv_layout.h"

namespace hearth {

std::int64_t GhostCache::longest(const std::string& salt,
                                 std::span<const engine::TokenId> tokens) const {
    constexpr std::size_t kPage = engine::kPageTokens;
    PageHash at = root_hash(model_fingerprint_, salt);
    std::size_t known = 0;
    for (; known + kPage <= tokens.size(); known += kPage) {
        const PageHash next = chain_hash(at, tokens.subspan(known, kPage));
        if (!pages_.contains(next)) break;
        at = next;
    }
    const auto rest = tokens.subspan(known);
    std::size_t best = 0;
    const auto tails = tails_.find(at);
    if (tails == tails_.end()) return static_cast<std::int64_t>(known);
    for (const auto& tail : tails->second) {
        const auto ends = std::mismatch(tail.begin(), tail.end(), rest.begin(), rest.end());
        best = std::max(best, static_cast<std::size_t>(ends.first - tail.begin()));
    }
    return static_cast<std::int64_t>(known + best);
}

void GhostCache::store(const std::string& salt, std::span<const engine::TokenId> tokens) {
    constexpr std::size_t kPage = engine::kPageTokens;
    PageHash at = root_hash(model_fingerprint_, salt);
    // Whole pages are kept as partial ones too: a branch in mid-page is found to the token.
    while (!tokens.empty() && pages() < pages_max_) {
        const auto ids = tokens.first(std::min(kPage, tokens.size()));
        tokens = tokens.subspan(ids.size());
        auto& tails = tails_[at];
        const bool is_known = std::ranges::any_of(tails, [&](const auto& tail) {
            return tail.size() >= ids.size() && std::equal(ids.begin(), ids.end(), tail.begin());
        });
        if (!is_known) {
            if (tails.size() >= kTailsMax) tails.erase(tails.begin());
            tails.emplace_back(ids.begin(), ids.end());
        }
        if (ids.size() < kPage) return;
        at = chain_hash(at, ids);
        pages_.insert(at);
    }
}

}  // namespace hearth
