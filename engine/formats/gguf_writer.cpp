// Serialises GGUF metadata and tensor infos, little-endian.
#include "engine/formats/gguf_writer.h"

#include "common/base/check.h"
#include "engine/formats/gguf_reader.h"

namespace hearth::engine {

namespace {

template <typename T>
void put(std::string& out, T value) {
    out.append(reinterpret_cast<const char*>(&value), sizeof value);
}

void put_text(std::string& out, std::string_view text) {
    put<std::uint64_t>(out, text.size());
    out += text;
}

void put_key(std::string& out, std::string_view key, GgufType type) {
    put_text(out, key);
    put(out, type);
}

void put_array(std::string& out, std::string_view key, GgufType element, std::size_t count) {
    put_key(out, key, GgufType::kArray);
    put(out, element);
    put<std::uint64_t>(out, count);
}

}  // namespace

void GgufWriter::add_text(std::string_view key, std::string_view value) {
    put_key(values_, key, GgufType::kString);
    put_text(values_, value);
    ++value_count_;
}

void GgufWriter::add_u32(std::string_view key, std::uint32_t value) {
    put_key(values_, key, GgufType::kU32);
    put(values_, value);
    ++value_count_;
}

void GgufWriter::add_f32(std::string_view key, float value) {
    put_key(values_, key, GgufType::kF32);
    put(values_, value);
    ++value_count_;
}

void GgufWriter::add_flag(std::string_view key, bool value) {
    put_key(values_, key, GgufType::kBool);
    put<std::uint8_t>(values_, value ? 1 : 0);
    ++value_count_;
}

void GgufWriter::add_texts(std::string_view key, const std::vector<std::string>& values) {
    put_array(values_, key, GgufType::kString, values.size());
    for (const std::string& value : values) put_text(values_, value);
    ++value_count_;
}

void GgufWriter::add_i32s(std::string_view key, const std::vector<std::int32_t>& values) {
    put_array(values_, key, GgufType::kI32, values.size());
    for (const std::int32_t value : values) put(values_, value);
    ++value_count_;
}

void GgufWriter::add_f32s(std::string_view key, const std::vector<float>& values) {
    put_array(values_, key, GgufType::kF32, values.size());
    for (const float value : values) put(values_, value);
    ++value_count_;
}

void GgufWriter::add_tensor(std::string_view name, TensorType type,
                            const std::vector<std::int64_t>& shape) {
    const auto size = byte_count(type, shape);
    CHECK(size.has_value());
    put_text(tensors_, name);
    put<std::uint32_t>(tensors_, static_cast<std::uint32_t>(shape.size()));
    for (auto it = shape.rbegin(); it != shape.rend(); ++it)
        put<std::uint64_t>(tensors_, static_cast<std::uint64_t>(*it));
    put(tensors_, type);
    put<std::uint64_t>(tensors_, next_offset_);
    const auto bytes = static_cast<std::size_t>(*size);
    next_offset_ += bytes + padding(bytes);
    ++tensor_count_;
}

std::string GgufWriter::header() const {
    std::string out = "GGUF";
    put<std::uint32_t>(out, 3);
    put<std::uint64_t>(out, tensor_count_);
    put<std::uint64_t>(out, value_count_);
    out += values_;
    out += tensors_;
    out.append(padding(out.size()), '\0');
    return out;
}

}  // namespace hearth::engine
