// rotation: weights are rotated once, while a backend packs them.
#include "engine/kernels/rotation.h"

#include <algorithm>
#include <cstdlib>

namespace hearth::engine {

float rotate_row(const QuantMatrix& m, std::int32_t row, std::span<std::int8_t> q) {
    const auto cols = static_cast<std::size_t>(m.cols);
    const std::int8_t* from = m.q.data() + static_cast<std::size_t>(row) * cols;
    std::vector<std::int32_t> rotated(q.size());
    std::copy(from, from + cols, rotated.begin());
    for (std::size_t block = 0; block < q.size() && !m.int4; block += kRotation)
        hadamard64(rotated.data() + block);
    std::int32_t largest = 0;
    for (const std::int32_t v : rotated) largest = std::max(largest, std::abs(v));
    const double steps = largest == 0 ? 0.0 : 127.0 / largest;
    // Adding 1.5 * 2^52 rounds to the nearest even integer.
    constexpr double kMagic = 6755399441055744.0;
    for (std::size_t i = 0; i < q.size(); ++i)
        q[i] = static_cast<std::int8_t>(rotated[i] * steps + kMagic - kMagic);
    const float scale = m.scale[static_cast<std::size_t>(row)];
    return scale * (static_cast<float>(largest) / 127.0f) * (m.int4 ? 1.0f : kRotationScale);
}

}  // namespace hearth::engine
