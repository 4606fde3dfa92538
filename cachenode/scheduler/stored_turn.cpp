// Compares what was computed with what will be asked for.
#include "cachenode/scheduler/stored_turn.h"

#include <algorithm>
#include <utility>

#include "cachenode/kv/reuse.h"

namespace hearth {

StoredTurn stored_turn(std::span<const engine::TokenId> computed,
                       std::vector<engine::TokenId> canonical, std::int64_t closing) {
    const auto computed_size = static_cast<std::int64_t>(computed.size());
    const std::int64_t common = common_prefix_tokens(computed, canonical);
    if (canonical.empty() || common == computed_size) {
        return {{computed.begin(), computed.end()}, computed_size};
    }
    const auto canonical_size = static_cast<std::int64_t>(canonical.size());
    const std::int64_t text_end = std::clamp(canonical_size - closing, common, canonical_size);
    canonical.resize(static_cast<std::size_t>(text_end));
    return {std::move(canonical), common};
}

}  // namespace hearth
