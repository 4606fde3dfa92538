// write_tiny_model: random weights that are the same on every machine, scaled so that text varies.
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <string>
#include <utility>
#include <vector>

#include "common/base/rng.h"
#include "engine/formats/fault.h"
#include "engine/formats/gguf_writer.h"
#include "engine/formats/tiny_vocabulary.h"
#include "engine/model/checkpoint.h"

namespace hearth::engine {

namespace {

// ChatML with no system message of its own; the marks are what ChatTemplate recognises it by.
constexpr const char* kTemplate =
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + "
    "message['content'] + '<|im_end|>' + '\\n' }}{% endfor %}{% if add_generation_prompt %}"
    "{{ '<|im_start|>assistant\\n' }}{% endif %}";

// Standard deviation of the logits: enough that they differ clearly, not so much that sampling at
// temperature 1 is greedy.
constexpr float kLogitSpread = 3.0f;
// The stream must be made by the layers, not by the embedding: with tied matrices a strong
// embedding makes a random model repeat its input for ever.
constexpr float kEmbeddingSpread = 0.25f;

struct TensorPlan {
    std::string name;
    std::vector<std::int64_t> shape;
    float spread = 1.0f;  // Standard deviation of the values.
    float mean = 0.0f;
    bool gains_by_row = false;  // Rows are tokens: scaled by TinyVocabulary::output_gains.
};

struct Plan {
    ModelConfig config;
    std::vector<std::int32_t> windows;
    std::vector<std::int32_t> kv_sources;
    std::vector<TensorPlan> tensors;
    std::string architecture;
};

// Layers of a kind share in groups of `share_kv`, counted within the kind: global layers that lie
// some window layers apart are neighbours too (as in Character.AI's published layout).
void plan_layers(const TinyModelOptions& o, Plan& plan) {
    std::int32_t seen[2] = {0, 0};
    std::int32_t owner[2] = {0, 0};
    for (std::int32_t i = 0; i < o.layers; ++i) {
        const bool global = o.window == 0 || i % o.global_every == o.global_every - 1;
        LayerShape layer;
        layer.window = global ? 0 : o.window;
        layer.writes_kv = seen[global]++ % o.share_kv == 0;
        if (layer.writes_kv) owner[global] = i;
        const auto source = static_cast<std::size_t>(owner[global]);
        layer.kv_bank =
            layer.writes_kv ? plan.config.kv_banks++ : plan.config.layers[source].kv_bank;
        plan.config.layers.push_back(layer);
        plan.windows.push_back(layer.window);
        plan.kv_sources.push_back(owner[global]);
    }
}

void plan_tensors(Plan& plan) {
    const ModelConfig& c = plan.config;
    const auto scale = [](float gain, std::int32_t inputs) {
        return gain / std::sqrt(static_cast<float>(inputs));
    };
    auto& out = plan.tensors;
    const std::int32_t q = c.heads * c.head_dim;
    const std::int32_t kv = c.kv_heads * c.head_dim;
    out.push_back(
        {"token_embd.weight", {c.vocab_size, c.hidden}, kEmbeddingSpread, 0.0f, c.tied_embeddings});
    for (std::size_t i = 0; i < c.layers.size(); ++i) {
        const std::string layer = "blk." + std::to_string(i) + ".";
        out.push_back({layer + "attn_norm.weight", {c.hidden}, 0.1f, 1.0f});
        out.push_back({layer + "attn_q.weight", {q, c.hidden}, scale(1.5f, c.hidden)});
        if (c.layers[i].writes_kv) {
            out.push_back({layer + "attn_k.weight", {kv, c.hidden}, scale(1.5f, c.hidden)});
            out.push_back({layer + "attn_v.weight", {kv, c.hidden}, scale(1.0f, c.hidden)});
        }
        out.push_back({layer + "attn_output.weight", {c.hidden, q}, scale(1.5f, q)});
        out.push_back({layer + "ffn_norm.weight", {c.hidden}, 0.1f, 1.0f});
        out.push_back({layer + "ffn_gate.weight", {c.ffn_hidden, c.hidden}, scale(1.5f, c.hidden)});
        out.push_back({layer + "ffn_up.weight", {c.ffn_hidden, c.hidden}, scale(1.0f, c.hidden)});
        out.push_back(
            {layer + "ffn_down.weight", {c.hidden, c.ffn_hidden}, scale(1.5f, c.ffn_hidden)});
    }
    // The last norm sets the spread of the logits: they are sums of `hidden` products.
    const float head = c.tied_embeddings ? kEmbeddingSpread : scale(kLogitSpread, c.hidden);
    const float norm = c.tied_embeddings ? scale(kLogitSpread / head, c.hidden) : 1.0f;
    out.push_back({"output_norm.weight", {c.hidden}, 0.1f * norm, norm});
    if (!c.tied_embeddings)
        out.push_back({"output.weight", {c.vocab_size, c.hidden}, head, 0.0f, true});
}

Result<Plan> make_plan(const TinyModelOptions& o, std::int32_t vocab_size) {
    if (o.window < 0 || o.share_kv < 1 || o.global_every < 1 || o.layers < 1 || o.layers > 512)
        return make_error(ErrorCode::kInvalidArgument,
                          "tiny model: window must be 0 or more, share_kv and global_every 1 or "
                          "more, layers 1 to 512");
    Plan plan;
    ModelConfig& c = plan.config;
    c.vocab_size = vocab_size;
    c.hidden = o.hidden;
    c.ffn_hidden = o.ffn_hidden;
    c.heads = o.heads;
    c.kv_heads = o.kv_heads;
    c.head_dim = o.head_dim;
    c.rope_dim = o.head_dim;
    c.context_length = o.context_length;
    c.tied_embeddings = o.tied_embeddings;
    plan_layers(o, plan);
    if (const auto valid = validate(c); !valid)
        return make_error(valid.error().code, "tiny model: " + valid.error().message);
    plan.architecture = o.window == 0 && o.share_kv == 1 ? "llama" : "hearth";
    plan_tensors(plan);
    return plan;
}

std::string make_header(const TinyModelOptions& o, const Plan& plan, const TinyVocabulary& words) {
    const ModelConfig& c = plan.config;
    const std::string prefix = plan.architecture + ".";
    const auto size = [](std::int32_t value) { return static_cast<std::uint32_t>(value); };
    GgufWriter out;
    out.add_text("general.architecture", plan.architecture);
    out.add_text("general.name", "hearth-tiny-" + std::to_string(o.seed));
    out.add_u32(prefix + "block_count", size(c.layer_count()));
    out.add_u32(prefix + "context_length", size(c.context_length));
    out.add_u32(prefix + "embedding_length", size(c.hidden));
    out.add_u32(prefix + "feed_forward_length", size(c.ffn_hidden));
    out.add_u32(prefix + "attention.head_count", size(c.heads));
    out.add_u32(prefix + "attention.head_count_kv", size(c.kv_heads));
    out.add_u32(prefix + "attention.key_length", size(c.head_dim));
    out.add_u32(prefix + "attention.value_length", size(c.head_dim));
    out.add_f32(prefix + "attention.layer_norm_rms_epsilon", c.norm_eps);
    out.add_u32(prefix + "rope.dimension_count", size(c.rope_dim));
    out.add_f32(prefix + "rope.freq_base", c.rope_theta);
    out.add_u32(prefix + "vocab_size", size(c.vocab_size));
    if (plan.architecture == "hearth") {
        out.add_i32s(prefix + "attention.window", plan.windows);
        out.add_i32s(prefix + "attention.kv_source", plan.kv_sources);
    }
    out.add_text("tokenizer.ggml.model", "gpt2");
    out.add_text("tokenizer.ggml.pre", "gpt-2");
    out.add_texts("tokenizer.ggml.tokens", words.tokens);
    out.add_i32s("tokenizer.ggml.token_type", words.types);
    out.add_texts("tokenizer.ggml.merges", words.merges);
    out.add_u32("tokenizer.ggml.bos_token_id", size(words.end_of_text));
    out.add_u32("tokenizer.ggml.eos_token_id", size(words.message_end));
    out.add_flag("tokenizer.ggml.add_bos_token", false);
    out.add_text("tokenizer.chat_template", kTemplate);
    for (const TensorPlan& tensor : plan.tensors)
        out.add_tensor(tensor.name, TensorType::kF32, tensor.shape);
    return out.header();
}

// Nearly normal, mean 0 and variance 1: the sum of four 16-bit uniforms, each of variance 2^32
// / 12. Integers up to one multiplication, so no machine's rounding or math library can change it.
float normal(Rng& rng) {
    const std::uint64_t bits = rng.next();
    std::int32_t sum = -131'070;
    for (int part = 0; part < 4; ++part)
        sum += static_cast<std::int32_t>((bits >> (16 * part)) & 0xffffu);
    constexpr float kUnit = 0x1.bb67aep-16f;  // sqrt(3) / 2^16
    return static_cast<float>(sum) * kUnit;
}

void write_tensor(std::ofstream& out, const TensorPlan& tensor, const TinyVocabulary& words,
                  Rng rng) {
    const auto cols = static_cast<std::size_t>(tensor.shape.back());
    const auto rows = static_cast<std::size_t>(tensor.shape.size() == 1 ? 1 : tensor.shape[0]);
    std::vector<float> row(cols);
    for (std::size_t r = 0; r < rows; ++r) {
        const float spread = tensor.spread * (tensor.gains_by_row ? words.output_gains[r] : 1.0f);
        for (float& value : row) {
            const float part = normal(rng) * spread;
            value = part + tensor.mean;
        }
        out.write(reinterpret_cast<const char*>(row.data()),
                  static_cast<std::streamsize>(cols * sizeof(float)));
    }
    constexpr char kZeros[GgufWriter::kAlignment] = {};
    const std::size_t padding = GgufWriter::padding(rows * cols * sizeof(float));
    out.write(kZeros, static_cast<std::streamsize>(padding));
}

}  // namespace

Result<void> write_tiny_model(const std::string& path, const TinyModelOptions& options) {
    const TinyVocabulary words = make_tiny_vocabulary();
    const auto plan = make_plan(options, static_cast<std::int32_t>(words.tokens.size()));
    if (!plan) return plan.error();
    // Renamed when complete: whoever finds the file finds all of it.
    const std::string partial = path + ".partial";
    std::ofstream out(partial, std::ios::binary | std::ios::trunc);
    const std::string header = make_header(options, *plan, words);
    out.write(header.data(), static_cast<std::streamsize>(header.size()));
    for (std::size_t i = 0; i < plan->tensors.size() && out; ++i)
        write_tensor(out, plan->tensors[i], words, Rng(mix64(mix64(options.seed) + i)));
    out.close();
    std::error_code failed;
    if (out) std::filesystem::rename(partial, path, failed);
    if (!out || failed) {
        std::filesystem::remove(partial, failed);
        return fault(ErrorCode::kUnavailable, path, "cannot be written");
    }
    return {};
}

}  // namespace hearth::engine
