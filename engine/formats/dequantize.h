// dequantize: rows of each supported tensor type to float, as the published block layouts say.
#pragma once

#include <cstddef>
#include <cstdint>

#include "engine/formats/tensor.h"

namespace hearth::engine {

// Writes `cols` floats to `out`; `cols` is a whole number of blocks and `row` holds exactly those
// (no alignment needed). Scales that are not finite give values that are not finite.
void dequantize_row(TensorType type, const std::byte* row, std::int64_t cols, float* out);

// IEEE 754 half precision (exact, subnormals and infinities included).
float half_to_float(std::uint16_t bits);

}  // namespace hearth::engine
