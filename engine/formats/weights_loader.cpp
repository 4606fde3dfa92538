// Finds, checks, hashes and quantises each tensor that a ModelConfig calls for.
#include "engine/formats/weights_loader.h"

#include <bit>
#include <cmath>
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
    .fused_qkv = "attn_qkv",
    .fused_gate_up = "ffn_up",
    .q_norm = "attn_q_norm",
    .k_norm = "attn_k_norm",
    .post_attention_norm = "post_attention_norm",
    .post_ffn_norm = "post_ffw_norm",
};

namespace {

constexpr TensorNames hugging_face_names(const char* post_attention_norm, const char* ffn_norm) {
    return {
        .embedding = "model.embed_tokens.weight",
        .final_norm = "model.norm.weight",
        .lm_head = "lm_head.weight",
        .layer = "model.layers.",
        .attention_norm = "input_layernorm",
        .q = "self_attn.q_proj",
        .k = "self_attn.k_proj",
        .v = "self_attn.v_proj",
        .output = "self_attn.o_proj",
        .ffn_norm = ffn_norm,
        .gate = "mlp.gate_proj",
        .up = "mlp.up_proj",
        .down = "mlp.down_proj",
        .fused_qkv = "self_attn.qkv_proj",
        .fused_gate_up = "mlp.gate_up_proj",
        .q_norm = "self_attn.q_norm",
        .k_norm = "self_attn.k_norm",
        .post_attention_norm = post_attention_norm,
        .post_ffn_norm = "post_feedforward_layernorm",
    };
}

}  // namespace

// Llama's files call the norm before the feed-forward layer "post attention"; where there are four
// norms a layer, that name is the one after attention.
const TensorNames kHuggingFaceNames = hugging_face_names("", "post_attention_layernorm");
const TensorNames kHuggingFacePostNormNames =
    hugging_face_names("post_attention_layernorm", "pre_feedforward_layernorm");

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

    bool has(const std::string& name) const { return tensors_.contains(name); }

    QuantMatrix matrix(const std::string& name, std::int32_t rows, std::int32_t cols) {
        QuantMatrix out;
        split(name, cols, {{rows, &out}});
        return out;
    }

    // One tensor that holds several matrices one after another.
    struct Part {
        std::int32_t rows;
        QuantMatrix* out;
    };
    void split(const std::string& name, std::int32_t cols, const std::vector<Part>& parts) {
        std::int64_t rows = 0;
        for (const Part& part : parts) rows += part.rows;
        const TensorView* tensor = claim(name, {rows, cols});
        if (tensor == nullptr || !request_.read_bytes) return;
        const std::size_t row_bytes = tensor->bytes.size() / static_cast<std::size_t>(rows);
        const std::byte* from = tensor->bytes.data();
        for (const Part& part : parts) {
            if (!read_rows(name, *tensor, from, {part.rows, cols}, *part.out)) return;
            from += static_cast<std::size_t>(part.rows) * row_bytes;
        }
    }

    std::vector<float> vector(const std::string& name, std::int32_t size) {
        const TensorView* tensor = claim(name, {size});
        if (tensor == nullptr || !request_.read_bytes) return {};
        std::vector<float> out(static_cast<std::size_t>(size));
        dequantize_row(tensor->type, tensor->bytes.data(), size, out.data());
        check_finite(name, out);
        return out;
    }

    std::vector<float> gains(const std::string& name, std::int32_t size) {
        std::vector<float> out = vector(name, size);
        for (float& gain : out) gain += request_.norm_offset;
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

    struct Shape {
        std::int32_t rows, cols;
    };
    bool read_rows(const std::string& name, const TensorView& tensor, const std::byte* from,
                   Shape shape, QuantMatrix& out) {
        const auto rows = static_cast<std::size_t>(shape.rows);
        const auto cols = static_cast<std::size_t>(shape.cols);
        out.rows = shape.rows;
        out.cols = shape.cols;
        out.q.resize(rows * cols);
        out.scale.resize(rows);
        if (request_.keep_floats) out.values.reserve(rows * cols);
        std::vector<float> row(cols);
        const auto row_bytes =
            static_cast<std::size_t>(*byte_count(tensor.type, {1, tensor.shape.back()}));
        for (std::size_t r = 0; r < rows; ++r, from += row_bytes) {
            dequantize_row(tensor.type, from, shape.cols, row.data());
            if (!check_finite(name, row)) return false;
            out.scale[r] = quantize_row(row.data(), shape.cols, out.q.data() + r * cols);
            if (request_.keep_floats) out.values.insert(out.values.end(), row.begin(), row.end());
        }
        return true;
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
    out.attention_norm = loader.gains(weight(names.attention_norm), c.hidden);
    if (writes_kv && loader.has(weight(names.fused_qkv))) {
        loader.split(weight(names.fused_qkv), c.hidden,
                     {{q_width, &out.wq}, {kv_width, &out.wk}, {kv_width, &out.wv}});
    } else {
        out.wq = loader.matrix(weight(names.q), q_width, c.hidden);
        if (writes_kv) out.wk = loader.matrix(weight(names.k), kv_width, c.hidden);
        if (writes_kv) out.wv = loader.matrix(weight(names.v), kv_width, c.hidden);
    }
    if (c.qkv_bias) {
        out.bq = loader.vector(bias(names.q), q_width);
        if (writes_kv) out.bk = loader.vector(bias(names.k), kv_width);
        if (writes_kv) out.bv = loader.vector(bias(names.v), kv_width);
    }
    if (c.qk_norm) {
        out.q_norm = loader.gains(weight(names.q_norm), c.head_dim);
        if (writes_kv) out.k_norm = loader.gains(weight(names.k_norm), c.head_dim);
    }
    out.wo = loader.matrix(weight(names.output), c.hidden, q_width);
    out.ffn_norm = loader.gains(weight(names.ffn_norm), c.hidden);
    if (!loader.has(weight(names.gate)) && loader.has(weight(names.fused_gate_up))) {
        loader.split(weight(names.fused_gate_up), c.hidden,
                     {{c.ffn_hidden, &out.gate}, {c.ffn_hidden, &out.up}});
    } else {
        out.gate = loader.matrix(weight(names.gate), c.ffn_hidden, c.hidden);
        out.up = loader.matrix(weight(names.up), c.ffn_hidden, c.hidden);
    }
    out.down = loader.matrix(weight(names.down), c.hidden, c.ffn_hidden);
    if (c.post_norms) {
        out.post_attention_norm = loader.gains(weight(names.post_attention_norm), c.hidden);
        out.post_ffn_norm = loader.gains(weight(names.post_ffn_norm), c.hidden);
    }
    return out;
}

// Multiplies embeddings; a tied output matrix gets its former size back through the last norm.
void scale_embedding(const ModelConfig& c, Weights& weights) {
    const float factor = std::sqrt(static_cast<float>(c.hidden));
    for (float& scale : weights.embedding.scale) scale *= factor;
    for (float& value : weights.embedding.values) value *= factor;
    if (!c.tied_embeddings) return;
    for (float& gain : weights.final_norm) gain /= factor;
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
    out.final_norm = loader.gains(names.final_norm, config.hidden);
    if (!config.tied_embeddings)
        out.lm_head = loader.matrix(names.lm_head, config.vocab_size, config.hidden);
    loader.check_leftovers();
    if (loader.error()) return *loader.error();
    if (!request.read_bytes) return Weights{};
    if (request.scaled_embedding) scale_embedding(config, out);
    return out;
}

}  // namespace hearth::engine
