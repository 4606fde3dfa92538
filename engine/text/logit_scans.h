// logit_scans: passes over all logits of a vocabulary, four at a time, in plain IEEE arithmetic.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

namespace hearth::engine {

// NaN becomes minus infinity; infinity is cut, because inf - inf would be NaN.
void make_usable(std::span<float> logits);

// Index of the largest, the first of equals. No logit is NaN.
std::size_t index_of_largest(std::span<const float> logits);

// What a draw goes by; kept from one to the next for its memory.
struct DrawWeights {
    static constexpr std::size_t kBlock = 256;
    std::vector<float> of;      // e^((logit - top) / temperature), to about 1e-6; 1 for the top.
    std::vector<double> block;  // Sums of kBlock of them.
    double total = 0.0;

    // DrawWeights below `least` become 0. `top` is the largest logit, finite; temperature > 0.
    void weigh(std::span<const float> logits, float top, float temperature, float least);

    // The id at which the running sum of weights, in order of ids, exceeds share * total; share in
    // [0, 1). Its weight is above 0.
    std::size_t at(double share) const;
};

}  // namespace hearth::engine
