// Batcher: which tokens of which sequence go into the next step. Pure: values in, plan out.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace hearth {

struct BatchCandidate {
    std::int64_t pending = 0;    // Tokens whose KV is still to be computed; 0 = takes no part.
    bool is_decoding = false;    // Its prompt is done: one token a step.
    bool is_background = false;  // Nobody waits for it.
};

struct BatchLimits {
    std::int32_t step_tokens_max = 512;       // Budget of a step.
    std::int32_t chunk_tokens_max = 512;      // Of one sequence's prefill in a step.
    bool decodes_may_wait = false;            // The step before this one had decodes.
    std::int32_t arriving_tokens_max = 256;   // Of all prefills, for which decodes may wait.
    std::int32_t background_tokens_max = 64;  // Together: a turn that arrives now waits that long.
};

struct PlannedSlice {
    std::size_t candidate = 0;  // Index in the list of candidates.
    std::int32_t tokens = 0;    // > 0
};

// The budget keeps the time of a step, and so the time between tokens, near constant
// (Sarathi-Serve, Agrawal et al. 2024). Every decode goes in, but for a step in which few tokens
// are to be prefilled, as of turns whose history is cached: those go alone, so that their first
// tokens do not wait for everybody's next ones; never twice running. Prefills share what is left of
// the budget in the order given, first come first served, and never less than one token, so that
// decodes cannot starve them. Background prefills get what foreground ones leave, and nothing in a
// step that has any of those.
std::vector<PlannedSlice> plan_batch(std::span<const BatchCandidate> candidates,
                                     const BatchLimits& limits);

}  // namespace hearth
