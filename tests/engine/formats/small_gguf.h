// SmallGguf: a valid little model file in memory whose keys and tensors a test can change one by
// one.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "engine/formats/gguf_model.h"
#include "engine/formats/gguf_writer.h"

namespace hearth::engine {

struct SmallTensor {
    std::string name;
    std::vector<std::int64_t> shape;
    TensorType type = TensorType::kF32;
    std::string bytes;  // Empty: small floats that depend on name and position.
};

// Two layers, hidden 8, 2 heads of 4, one KV head, ffn 12, 6 SentencePiece tokens, tied.
struct SmallGguf {
    using Write = std::function<void(GgufWriter&, const std::string& key)>;
    std::map<std::string, Write> values;
    std::vector<SmallTensor> tensors;

    explicit SmallGguf(const std::string& architecture = "llama");

    SmallGguf& set(const std::string& key, std::uint32_t value);
    SmallGguf& set(const std::string& key, float value);
    SmallGguf& set(const std::string& key, bool value);
    SmallGguf& set(const std::string& key, const char* value);
    SmallGguf& set(const std::string& key, const std::vector<std::string>& value);
    SmallGguf& set(const std::string& key, const std::vector<std::int32_t>& value);
    SmallGguf& set(const std::string& key, const std::vector<float>& value);
    SmallGguf& drop(const std::string& key);
    SmallGguf& drop_tensor(const std::string& name);
    SmallTensor& tensor(const std::string& name);  // Adds it if it is not there.

    std::string bytes() const;
    std::string header() const;
    Result<Checkpoint> load(bool weights = true) const;
};

inline Result<Checkpoint> load_bytes(const std::string& bytes, bool weights = true) {
    return load_gguf(std::as_bytes(std::span(bytes)), "test.gguf", {.weights = weights});
}

}  // namespace hearth::engine
