// Builds SmallGguf's default content and serialises it.
#include "tests/engine/formats/small_gguf.h"

#include <algorithm>

#include "common/base/rng.h"

namespace hearth::engine {

namespace {

GgufWriter writer_of(const SmallGguf& model) {
    GgufWriter out;
    for (const auto& [key, write] : model.values) write(out, key);
    for (const SmallTensor& tensor : model.tensors)
        out.add_tensor(tensor.name, tensor.type, tensor.shape);
    return out;
}

std::string default_bytes(const SmallTensor& tensor) {
    std::string out(static_cast<std::size_t>(*byte_count(tensor.type, tensor.shape)), '\0');
    Rng rng(std::hash<std::string>()(tensor.name));
    for (std::size_t i = 0; i + sizeof(float) <= out.size(); i += sizeof(float)) {
        const auto value = static_cast<float>(rng.uniform() - 0.5);
        out.replace(i, sizeof value, reinterpret_cast<const char*>(&value), sizeof value);
    }
    return out;
}

}  // namespace

SmallGguf::SmallGguf(const std::string& architecture) {
    const std::string prefix = architecture + ".";
    set("general.architecture", architecture.c_str());
    set("general.name", "small");
    set(prefix + "block_count", 2u);
    set(prefix + "context_length", 256u);
    set(prefix + "embedding_length", 8u);
    set(prefix + "feed_forward_length", 12u);
    set(prefix + "attention.head_count", 2u);
    set(prefix + "attention.head_count_kv", 1u);
    set(prefix + "attention.layer_norm_rms_epsilon", 1e-5f);
    set("tokenizer.ggml.model", "llama");
    set("tokenizer.ggml.tokens", std::vector<std::string>{"<unk>", "<s>", "</s>", "a", "b", "ab"});
    set("tokenizer.ggml.scores", std::vector<float>{0, 0, 0, -2, -3, -1});
    set("tokenizer.ggml.token_type", std::vector<std::int32_t>{2, 3, 3, 1, 1, 1});
    tensor("token_embd.weight").shape = {6, 8};
    tensor("output_norm.weight").shape = {8};
    for (const char* layer : {"blk.0.", "blk.1."}) {
        const std::string name = layer;
        tensor(name + "attn_norm.weight").shape = {8};
        tensor(name + "attn_q.weight").shape = {8, 8};
        tensor(name + "attn_k.weight").shape = {4, 8};
        tensor(name + "attn_v.weight").shape = {4, 8};
        tensor(name + "attn_output.weight").shape = {8, 8};
        tensor(name + "ffn_norm.weight").shape = {8};
        tensor(name + "ffn_gate.weight").shape = {12, 8};
        tensor(name + "ffn_up.weight").shape = {12, 8};
        tensor(name + "ffn_down.weight").shape = {8, 12};
    }
}

SmallGguf& SmallGguf::set(const std::string& key, std::uint32_t value) {
    values[key] = [value](GgufWriter& out, const std::string& k) { out.add_u32(k, value); };
    return *this;
}
SmallGguf& SmallGguf::set(const std::string& key, float value) {
    values[key] = [value](GgufWriter& out, const std::string& k) { out.add_f32(k, value); };
    return *this;
}
SmallGguf& SmallGguf::set(const std::string& key, bool value) {
    values[key] = [value](GgufWriter& out, const std::string& k) { out.add_flag(k, value); };
    return *this;
}
SmallGguf& SmallGguf::set(const std::string& key, const char* value) {
    const std::string text = value;
    values[key] = [text](GgufWriter& out, const std::string& k) { out.add_text(k, text); };
    return *this;
}
SmallGguf& SmallGguf::set(const std::string& key, const std::vector<std::string>& value) {
    values[key] = [value](GgufWriter& out, const std::string& k) { out.add_texts(k, value); };
    return *this;
}
SmallGguf& SmallGguf::set(const std::string& key, const std::vector<std::int32_t>& value) {
    values[key] = [value](GgufWriter& out, const std::string& k) { out.add_i32s(k, value); };
    return *this;
}
SmallGguf& SmallGguf::set(const std::string& key, const std::vector<float>& value) {
    values[key] = [value](GgufWriter& out, const std::string& k) { out.add_f32s(k, value); };
    return *this;
}
SmallGguf& SmallGguf::drop(const std::string& key) {
    values.erase(key);
    return *this;
}
SmallGguf& SmallGguf::drop_tensor(const std::string& name) {
    std::erase_if(tensors, [&](const SmallTensor& t) { return t.name == name; });
    return *this;
}

SmallTensor& SmallGguf::tensor(const std::string& name) {
    const auto it = std::find_if(tensors.begin(), tensors.end(),
                                 [&](const SmallTensor& t) { return t.name == name; });
    if (it != tensors.end()) return *it;
    tensors.push_back({.name = name, .shape = {}, .type = TensorType::kF32, .bytes = {}});
    return tensors.back();
}

std::string SmallGguf::header() const {
    return writer_of(*this).header();
}

std::string SmallGguf::bytes() const {
    std::string out = header();
    for (const SmallTensor& tensor : tensors) {
        out += tensor.bytes.empty() ? default_bytes(tensor) : tensor.bytes;
        out.append(GgufWriter::padding(out.size()), '\0');
    }
    return out;
}

Result<Checkpoint> SmallGguf::load(bool weights) const {
    return load_bytes(bytes(), weights);
}

}  // namespace hearth::engine
