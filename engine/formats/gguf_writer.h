// GgufWriter: builds the header of a GGUF file (version 3); the caller appends the tensors' bytes.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "engine/formats/tensor.h"

namespace hearth::engine {

// Keys and tensors appear in the order in which they were added. One owner.
class GgufWriter {
  public:
    static constexpr std::size_t kAlignment = 32;

    void add_text(std::string_view key, std::string_view value);
    void add_u32(std::string_view key, std::uint32_t value);
    void add_f32(std::string_view key, float value);
    void add_flag(std::string_view key, bool value);
    void add_texts(std::string_view key, const std::vector<std::string>& values);
    void add_i32s(std::string_view key, const std::vector<std::int32_t>& values);
    void add_f32s(std::string_view key, const std::vector<float>& values);

    // Shape outermost first; it must be one that byte_count() accepts.
    void add_tensor(std::string_view name, TensorType type, const std::vector<std::int64_t>& shape);

    // The header up to the first tensor's first byte. The tensors' bytes follow in order, each
    // padded with zeros to a multiple of kAlignment.
    std::string header() const;

    static std::size_t padding(std::size_t size) {
        return (kAlignment - size % kAlignment) % kAlignment;
    }

  private:
    std::string values_;
    std::string tensors_;
    std::uint64_t value_count_ = 0;
    std::uint64_t tensor_count_ = 0;
    std::uint64_t next_offset_ = 0;
};

}  // namespace hearth::engine
