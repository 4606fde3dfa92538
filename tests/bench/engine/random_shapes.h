// random_shapes.h: random models of known shapes for benchmarks; speed does not depend on values.
#pragma once

#include <cstdint>
#include <string>

#include "common/base/result.h"
#include "common/base/rng.h"
#include "engine/model/checkpoint.h"

namespace hearth::engine::bench {

// "135m" (SmolLM2-135M's shape), "1.1b" (TinyLlama's) or "tiny"; kNotFound for other names. Has no
// vocabulary: for an Engine only.
Result<Checkpoint> random_shape(const std::string& name);

QuantMatrix random_matrix(Rng& rng, std::int32_t rows, std::int32_t cols);

}  // namespace hearth::engine::bench
