// Truncation: which old turns an over-long dialogue drops, so that what stays in front is the same
// from turn to turn. Pure.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "engine/text/chat_template.h"

namespace hearth {

struct MessageSize {
    engine::Role role = engine::Role::kUser;
    std::int64_t tokens = 0;
};

// Messages [first, end) are dropped; what stands before `first` is the system prompt.
struct DroppedTurns {
    std::size_t first = 0, end = 0;
    std::int64_t tokens = 0;
    std::size_t count() const { return end - first; }
};

// Drops whole turns (a user's message and all up to the next one), the oldest first, until the rest
// has at most `budget` tokens, and then on to a multiple of `step`: so the point moves only when
// the dialogue has grown by that much, and the KV behind it is found again meanwhile. A window that
// slides with every turn keeps 25 to 33 % of the hits, a step of 2,048 tokens 95 to 97 %. The last
// user's message always stays. `extra`: steps beyond what the sizes ask for.
DroppedTurns plan_truncation(std::span<const MessageSize> messages, std::int64_t budget,
                             std::int64_t step, std::int64_t extra = 0);

}  // namespace hearth
