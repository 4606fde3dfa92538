// Tensors as files hold them: element types, their block layouts, and views into mapped bytes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace hearth::engine {

// The numbers are GGUF's (ggml_type); safetensors' dtypes map onto the first three plain ones.
enum class TensorType : std::uint32_t {
    kF32 = 0,
    kF16 = 1,
    kQ4_0 = 2,
    kQ4_1 = 3,
    kQ5_0 = 6,  // What quantisers fall back to for Q4_K where a row is no multiple of 256.
    kQ8_0 = 8,
    kQ4_K = 12,
    kQ6_K = 14,
    kBF16 = 30,
};

struct BlockLayout {
    const char* name;
    std::int32_t elements;  // Per block; a row is a whole number of blocks.
    std::int32_t bytes;     // Per block.
};
// Empty for a number that is not one of the above.
std::optional<BlockLayout> block_layout(TensorType type);

struct TensorView {
    TensorType type = TensorType::kF32;
    std::vector<std::int64_t> shape;   // Outermost first; the last one runs fastest in memory.
    std::span<const std::byte> bytes;  // Exactly what type and shape need; dies with the file.
};
using TensorTable = std::map<std::string, TensorView>;

// "[49152, 576]"
std::string to_string(const std::vector<std::int64_t>& shape);

// The product of the dimensions; empty if one is below 1 or the product exceeds 2^48, which is far
// above any file yet leaves room to multiply by a block's size.
std::optional<std::int64_t> element_count(const std::vector<std::int64_t>& shape);

// Bytes of a tensor; empty also if its rows are not whole blocks.
std::optional<std::int64_t> byte_count(TensorType type, const std::vector<std::int64_t>& shape);

}  // namespace hearth::engine
