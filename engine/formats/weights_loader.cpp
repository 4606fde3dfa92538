// Finds, checks, hashes and quantises each tensor that a ModelConfig calls for.
#include "engine/formats/weights_loader.h"

#include <bit>
#include <cstdint>
#include <optional>
#include <set>

#include "engine/formats/dequantize.h"
#include "engine/formats/fault.h"

namespace hearth::engine {

const TensorNames kGgufNames = {
    .embedding = "token_embd.weight",
    .final_norm = "output_norm.weight",
    .lm_head = "output.weight",
    .layer = "blk.",
    .attention_norm = "attn_norm",
    .q = "attn_q",
    .k = "attn_k",
    .v = "attn_v",
    .output = "attn_output",
    .ffn_norm = "ffn_norm",
    .gate = "ffn_gate",
    .up = "ffn_up",
    .down = "ffn_down",
};

const TensorNames kHuggingFaceNames = {
    .embedding = "model.embed_tokens.weight",
    .final_norm = "model.norm.weight",
    .lm_head = "lm_head.weight",
    .layer = "model.layers.",
    .attention_norm = "input_layernorm",
    .q = "self_attn.q_proj",
    .k = "self_attn.k_proj",
    .v = "self_attn.v_proj",
    .output = "self_attn.o_proj",
    .ffn_norm = "post_attention_layernorm",
    .gate = "mlp.gate_proj",
    .up = "mlp.up_proj",
    .down = "mlp.down_proj",
};

namespace {

bool all_finite(const std::vector<float>& values) {
    std::uint32_t bad = 0;
    for (const float value : values) {
        const std::uint32_t exponent = std::bit_cast<std::uint32_t>(value) & 0x7f800000u;
        bad |= static_cast<std::uint32_t>(exponent == 0x7f800000u);
    }
    return bad == 0;
}

// The first failure sticks; later calls return empty matrices.
class Loader {
  public:
    Loader(const TensorTable& tensors, const WeightsRequest& request, Fingerprint& fingerprint)
        : tensors_(tensors), request_(request), fingerprint_(fingerprint) {}

    QuantMatrix matrix(const std::string& name, std::int32_t rows, std::int32_t cols) {
        const TensorView* tensor = claim(name, {rows, cols});
        QuantMatrix out;
        if (tensor == nullptr || !request_.read_bytes) return out;
        out.rows = rows;
        out.cols = cols;
        out.q.resize(static_cast<std::size_t>(rows) * static_cast<std::size_t>(cols));
        out.scale.resize(static_cast<std::size_t>(rows));
        std::vector<float> row(static_cast<std::size_t>(cols));
        const std::size_t row_bytes = tensor->bytes.size() / static_cast<std::size_t>(rows);
        for (std::size_t r = 0; r < out.scale.size(); ++r) {
            dequantize_row(tensor->type, tensor->bytes.data() + r * row_bytes, cols, row.data());
            if (!check_finite(name, row)) return {};
            out.scale[r] = quantize_row(row.data(), cols, out.q.data() + r * row.size());
        }
        return out;
    }

    std::vector<float> vector(const std::string& name, std::int32_t size) {
        const TensorView* tensor = claim(name, {size});
        if (tensor == nullptr || !request_.read_bytes) return {};
        std::vector<float> out(static_cast<std::size_t>(size));
        dequantize_row(tensor->type, tensor->bytes.data(), size, out.data());
        check_finite(name, out);
        return out;
    }

    // After all tensors were asked for: is there one that nobody wanted?
    void check_leftovers() {
        for (const auto& [name, tensor] : tensors_) {
            if (error_ || used_.contains(name)) continue;
            bool ignored = false;
            for (const std::string& end : request_.ignored) ignored |= name.ends_with(end);
            if (!ignored)
                error_ = unsupported(request_.file, "tensor " + in_quotes(name) +
                                                        " has no place in this architecture");
        }
    }

    const std::optional<Error>& error() const { return error_; }

  private:
    const TensorView* claim(const std::string& name, const std::vector<std::int64_t>& shape) {
        if (error_) return nullptr;
        const auto it = tensors_.find(name);
        if (it == tensors_.end()) {
            error_ = corrupt(request_.file, "tensor " + in_quotes(name) + " is missing");
            return nullptr;
        }
        const TensorView& tensor = it->second;
        if (tensor.shape != shape) {
            error_ = corrupt(request_.file, "tensor " + in_quotes(name) + " has shape " +
                                                to_string(tensor.shape) +
                                                ", the header calls for " + to_string(shape));
            return nullptr;
        }
        used_.insert(name);
        fingerprint_.add(std::string_view(name));
        fingerprint_.add(static_cast<std::uint32_t>(tensor.type));
        for (const std::int64_t size : shape) fingerprint_.add(size);
        if (request_.read_bytes) fingerprint_.add(tensor.bytes);
        return &tensor;
    }

    bool check_finite(const std::string& name, const std::vector<float>& values) {
        if (all_finite(values)) return true;
        error_ = corrupt(request_.file,
                         "tensor " + in_quotes(name) + " holds a number that is not finite");
        return false;
    }

    const TensorTable& tensors_;
    const WeightsRequest& request_;
    Fingerprint& fingerprint_;
    std::set<std::string> used_;
    std::optional<Error> error_;
};

LayerWeights load_layer(Loader& loader, const ModelConfig& c, const TensorNames& names,
                        std::size_t index) {
    const std::string prefix = names.layer + std::to_string(index) + ".";
    const auto weight = [&](const char* name) { return prefix + name + ".weight"; };
    const auto bias = [&](const char* name) { return prefix + name + ".bias"; };
    const std::int32_t q_width = c.heads * c.head_dim;
    const std::int32_t kv_width = c.kv_heads * c.head_dim;
    const bool writes_kv = c.layers[index].writes_kv;
    LayerWeights out;
    out.attention_norm = loader.vector(weight(names.attention_norm), c.hidden);
    out.wq = loader.matrix(weight(names.q), q_width, c.hidden);
    if (c.qkv_bias) out.bq = loader.vector(bias(names.q), q_width);
    if (writes_kv) {
        out.wk = loader.matrix(weight(names.k), kv_width, c.hidden);
        out.wv = loader.matrix(weight(names.v), kv_width, c.hidden);
        if (c.qkv_bias) out.bk = loader.vector(bias(names.k), kv_width);
        if (c.qkv_bias) out.bv = loader.vector(bias(names.v), kv_width);
    }
    out.wo = loader.matrix(weight(names.output), c.hidden, q_width);
    out.ffn_norm = loader.vector(weight(names.ffn_norm), c.hidden);
    out.gate = loader.matrix(weight(names.gate), c.ffn_hidden, c.hidden);
    out.up = loader.matrix(weight(names.up), c.ffn_hidden, c.hidden);
    out.down = loader.matrix(weight(names.down), c.hidden, c.ffn_hidden);
    return out;
}

}  // namespace

bool has_qkv_bias(const TensorTable& tensors, const TensorNames& names) {
    return tensors.contains(std::string(names.layer) + "0." + names.q + ".bias");
}

Result<Weights> load_weights(const TensorTable& tensors, const ModelConfig& config,
                             const WeightsRequest& request, Fingerprint& fingerprint) {
    Loader loader(tensors, request, fingerprint);
    const TensorNames& names = *request.names;
    Weights out;
    out.embedding = loader.matrix(names.embedding, config.vocab_size, config.hidden);
    for (std::size_t i = 0; i < config.layers.size() && !loader.error(); ++i)
        out.layers.push_back(load_layer(loader, config, names, i));
    out.final_norm = loader.vector(names.final_norm, config.hidden);
    if (!config.tied_embeddings)
        out.lm_head = loader.matrix(names.lm_head, config.vocab_size, config.hidden);
    loader.check_leftovers();
    if (loader.error()) return *loader.error();
    if (!request.read_bytes) return Weights{};
    return out;
}

}  // namespace hearth::engine
