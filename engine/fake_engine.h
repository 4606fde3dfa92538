// make_fake_engine: an Engine whose logits are a hash of everything its KV pages hold. For tests.
#pragma once

#include <memory>

#include "engine/engine.h"

namespace hearth::engine {

// Every token leaves a hash of itself and of all tokens before it in its page slot, in every bank
// and head. The logits of a row are drawn from a hash of all slots up to it, so a wrong, stale,
// half-copied or corrupt page anywhere in the sequence changes the output. Logits lie in [-8, 8).
// Fast: some nanoseconds per logit, and per token of history, bank and head. Same threading as any
// Engine.
std::unique_ptr<Engine> make_fake_engine(ModelConfig config);

}  // namespace hearth::engine
