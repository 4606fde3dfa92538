// ContinuedTurn: what a node must know of a turn whose first part another node has answered.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/model/config.h"

namespace hearth {

// The value of hearth-turn and hearth-continue. With these, the request and the tokens that were
// delivered, any node of the same weights goes on with the very bytes that the first would have
// sent.
struct ContinuedTurn {
    std::string id;            // Of the answer, the same in all its chunks.
    std::int64_t created = 0;  // Unix seconds.
    std::uint64_t seed = 0;    // The one in use, drawn or not.
    std::int64_t max_tokens = 0;
    std::int64_t prompt_tokens = 0;  // Differs if the heir renders another way: it must refuse.
    std::string fingerprint;         // Likewise for its weights.
};

std::string to_text(const ContinuedTurn& turn);
// Nothing if `text` is not what to_text() writes.
std::optional<ContinuedTurn> continued_turn_from(std::string_view text);

// Decimal token ids, a space before each; appended to `out`.
void append_tokens(std::string& out, const std::vector<engine::TokenId>& tokens);
// Nothing if there is anything else in `text`.
std::optional<std::vector<engine::TokenId>> tokens_from(std::string_view text);

}  // namespace hearth
