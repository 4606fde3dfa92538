// RopeTable: cosines and sines of rotary position embedding, computed once in double precision.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "engine/model/config.h"

namespace hearth::engine {

// Angles of position p and pair i are p * theta^(-2i / rope_dim) (Su et al. 2021), with Llama 3's
// rescaling of low frequencies when the model asks for it. One owner thread grows it; kernels read.
class RopeTable {
  public:
    // `local`: by local_rope_theta, without any rescaling.
    explicit RopeTable(const ModelConfig& config, bool local = false);

    // Mean over positions [0, context_length) of what rotating `head` (head_dim floats) gives.
    std::vector<float> mean_rotation(const float* head, const ModelConfig& config) const;

    // Makes positions [0, positions) readable. Pointers from before are invalid afterwards.
    void grow(std::int32_t positions);

    const float* cos_of(std::int32_t position) const { return cos_.data() + offset(position); }
    const float* sin_of(std::int32_t position) const { return sin_.data() + offset(position); }
    std::int32_t positions() const { return positions_; }  // That are readable.
    std::int32_t pairs() const { return static_cast<std::int32_t>(frequency_.size()); }
    RopeStyle style() const { return style_; }

  private:
    std::size_t offset(std::int32_t position) const {
        return static_cast<std::size_t>(position) * frequency_.size();
    }

    RopeStyle style_;
    double magnitude_ = 1.0;
    std::int32_t positions_ = 0;
    std::vector<double> frequency_;  // Radians per position, one per pair.
    std::vector<float> cos_, sin_;   // [positions][pairs]
};

}  // namespace hearth::engine
