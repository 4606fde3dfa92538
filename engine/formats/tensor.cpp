// Block layouts and overflow-safe sizes of tensors.
#include "engine/formats/tensor.h"

namespace hearth::engine {

std::optional<BlockLayout> block_layout(TensorType type) {
    switch (type) {
        case TensorType::kF32: return BlockLayout{"F32", 1, 4};
        case TensorType::kF16: return BlockLayout{"F16", 1, 2};
        case TensorType::kBF16: return BlockLayout{"BF16", 1, 2};
        case TensorType::kQ4_0: return BlockLayout{"Q4_0", 32, 18};
        case TensorType::kQ4_1: return BlockLayout{"Q4_1", 32, 20};
        case TensorType::kQ5_0: return BlockLayout{"Q5_0", 32, 22};
        case TensorType::kQ8_0: return BlockLayout{"Q8_0", 32, 34};
        case TensorType::kQ4_K: return BlockLayout{"Q4_K", 256, 144};
        case TensorType::kQ6_K: return BlockLayout{"Q6_K", 256, 210};
    }
    return std::nullopt;
}

std::string to_string(const std::vector<std::int64_t>& shape) {
    std::string out = "[";
    for (std::size_t i = 0; i < shape.size(); ++i)
        out += (i == 0 ? "" : ", ") + std::to_string(shape[i]);
    return out + "]";
}

std::optional<std::int64_t> element_count(const std::vector<std::int64_t>& shape) {
    constexpr std::int64_t kMax = std::int64_t{1} << 48;
    std::int64_t count = 1;
    for (const std::int64_t size : shape) {
        if (size < 1 || size > kMax / count) return std::nullopt;
        count *= size;
    }
    return count;
}

std::optional<std::int64_t> byte_count(TensorType type, const std::vector<std::int64_t>& shape) {
    const auto layout = block_layout(type);
    const auto count = element_count(shape);
    if (!layout || !count) return std::nullopt;
    const std::int64_t row = shape.empty() ? 1 : shape.back();
    if (row % layout->elements != 0) return std::nullopt;
    return *count / layout->elements * layout->bytes;
}

}  // namespace hearth::engine
