// StoredTurn: what a finished turn leaves for the next: its tokens as the next prompt will have
// them.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "engine/model/config.h"

namespace hearth {

struct StoredTurn {
    std::vector<engine::TokenId> tokens;
    std::int64_t stored = 0;  // The first so many of them are what was computed.
};

// Pure. A reply's text tokenised as a whole can give other ids than were sampled one by one (or
// lose a stop string, or spaces that the template trims). `computed`: prompt and reply ids that
// have KV. `canonical`: the prompt, then the ids of the reply's text, then `closing` ids that end
// the turn; empty when unknown. Where it says no more than `computed` in the same ids, nothing is
// lost; otherwise the turn is the canonical one up to the end of its text.
StoredTurn stored_turn(std::span<const engine::TokenId> computed,
                       std::vector<engine::TokenId> canonical, std::int64_t closing);

}  // namespace hearth
