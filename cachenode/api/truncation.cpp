// Sums from the front: what is dropped depends on the dialogue's own sizes and its length in steps.
#include "cachenode/api/truncation.h"

#include "common/base/check.h"

namespace hearth {

DroppedTurns plan_truncation(std::span<const MessageSize> messages, std::int64_t budget,
                             std::int64_t step, std::int64_t extra) {
    CHECK(step > 0);
    std::int64_t total = 0;
    for (const MessageSize& message : messages) total += message.tokens;
    DroppedTurns out;
    while (out.first < messages.size() && messages[out.first].role == engine::Role::kSystem) {
        ++out.first;
    }
    out.end = out.first;
    const std::int64_t over = total - budget;
    if (over <= 0 && extra == 0) return out;
    const std::int64_t steps = (over > 0 ? (over + step - 1) / step : 0) + extra;
    std::int64_t dropped = 0;
    for (std::size_t i = out.first; i < messages.size(); ++i) {
        const bool begins_turn = messages[i].role == engine::Role::kUser && i > out.first;
        if (begins_turn) {
            out.end = i;
            out.tokens = dropped;
            if (dropped >= steps * step) break;
        }
        dropped += messages[i].tokens;
    }
    return out;
}

}  // namespace hearth
