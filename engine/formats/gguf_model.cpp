// Turns a parsed GGUF header into ModelConfig and vocabulary, and its tensors into weights.
#include "engine/formats/gguf_model.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

#include "engine/formats/dequantize.h"
#include "engine/formats/families.h"
#include "engine/formats/fault.h"
#include "engine/formats/fingerprint.h"
#include "engine/formats/weights_loader.h"

namespace hearth::engine {

namespace {

constexpr const char* kRopeFactors = "rope_freqs.weight";
constexpr const char* kLongFactors = "rope_factors_long.weight";
constexpr const char* kShortFactors = "rope_factors_short.weight";

// Tables that older converters wrote beside the weights; all follow from the metadata.
const std::vector<std::string> kIgnored = {".attn_rot_embd.weight", "rope_freqs.weight",
                                           "rope_factors_long.weight", "rope_factors_short.weight"};

void read_sizes(GgufFields& fields, const std::string& prefix, ModelConfig& c) {
    c.context_length = fields.size(prefix + "context_length");
    c.hidden = fields.size(prefix + "embedding_length");
    c.ffn_hidden = fields.size(prefix + "feed_forward_length");
    c.heads = fields.size(prefix + "attention.head_count");
    c.kv_heads = fields.size(prefix + "attention.head_count_kv", c.heads);
    const std::int32_t even_share = c.heads > 0 ? c.hidden / c.heads : 0;
    c.head_dim = fields.size(prefix + "attention.key_length", even_share);
    if (fields.size(prefix + "attention.value_length", c.head_dim) != c.head_dim)
        fields.fail(ErrorCode::kUnsupported,
                    "key '" + prefix + "attention.value_length' differs from the key length");
    if (fields.size(prefix + "expert_count", 0) > 0)
        fields.fail(ErrorCode::kUnsupported,
                    "key '" + prefix + "expert_count': mixtures of experts");
    c.norm_eps = fields.number(prefix + "attention.layer_norm_rms_epsilon");
}

// One divisor for each rotated pair, times `linear`; empty if the file has no such tensor.
std::vector<float> rope_table(const GgufFile& file, GgufFields& fields, const char* name,
                              std::size_t pairs) {
    std::vector<float> out;
    const auto it = file.tensors().find(name);
    if (it == file.tensors().end()) return out;
    const TensorView& tensor = it->second;
    if (tensor.type != TensorType::kF32 ||
        tensor.shape != std::vector<std::int64_t>{static_cast<std::int64_t>(pairs)}) {
        fields.fail(ErrorCode::kCorrupt, "tensor '" + std::string(name) + "' has shape " +
                                             to_string(tensor.shape) + ", the header calls for [" +
                                             std::to_string(pairs) + "] in F32");
        return out;
    }
    out.resize(pairs);
    dequantize_row(tensor.type, tensor.bytes.data(), tensor.shape[0], out.data());
    return out;
}

// Divisors of the RoPE frequencies: the file's own table (Llama 3 files carry their rescaling as
// one, Phi-3's LongRoPE two, see read_long_rope in hf_config.cpp) times the linear scale. Empty if
// neither is there.
void read_rope(const GgufFile& file, GgufFields& fields, const std::string& prefix,
               ModelConfig& c) {
    const Family& family = *family_of_gguf(std::string_view(prefix).substr(0, prefix.size() - 1));
    c.rope_style = family.interleaved_in_gguf ? RopeStyle::kInterleaved : RopeStyle::kHalves;
    c.rope_theta = fields.number(prefix + "rope.freq_base", family.rope_theta_default);
    if (family.local_rope_theta > 0.0f)
        c.local_rope_theta = fields.number(prefix + "rope.freq_base_swa", family.local_rope_theta);
    c.rope_dim = fields.size(prefix + "rope.dimension_count", c.head_dim);
    const std::string type = fields.text(prefix + "rope.scaling.type", "linear");
    float linear = 1.0f;
    if (type == "linear") {
        const float older = fields.number(prefix + "rope.scale_linear", 1.0f);  // Its former name.
        linear = fields.number(prefix + "rope.scaling.factor", older);
    } else if (type != "none" && type != "longrope") {
        fields.fail(ErrorCode::kUnsupported, "key '" + prefix + "rope.scaling.type' is " +
                                                 in_quotes(type) +
                                                 " (supported: none, linear, longrope)");
    }
    if (linear == 0.0f) linear = 1.0f;  // Converters write 0 for "not scaled".
    const auto pairs = static_cast<std::size_t>(std::clamp(c.rope_dim / 2, 0, 4096));
    if (linear != 1.0f) c.rope_freq_factors.assign(pairs, linear);
    const std::int32_t original =
        fields.size(prefix + "rope.scaling.original_context_length", c.context_length);
    const bool extended = c.context_length > original;
    for (const char* name : {kRopeFactors, extended ? kLongFactors : kShortFactors}) {
        std::vector<float> factors = rope_table(file, fields, name, pairs);
        if (factors.empty()) continue;
        for (float& factor : factors) factor *= linear;
        c.rope_freq_factors = std::move(factors);
    }
    if (extended) c.rope_magnitude = fields.number(prefix + "rope.scaling.attn_factor", 1.0f);
}

// What the families' layers have beside Llama's; caps and windows have keys of their own.
void read_attention(GgufFields& fields, const std::string& prefix, const Family& family,
                    ModelConfig& c) {
    c.qk_norm = family.qk_norm;
    c.post_norms = family.post_norms;
    c.activation = family.gelu ? Activation::kGelu : Activation::kSilu;
    c.attention_softcap =
        fields.number(prefix + "attn_logit_softcapping", family.attention_softcap);
    c.logit_softcap = fields.number(prefix + "final_logit_softcapping", family.logit_softcap);
    if (c.heads > 0 && family.layers_of_hidden_scale > 0 &&
        c.layer_count() == family.layers_of_hidden_scale)
        c.attention_scale = std::sqrt(static_cast<float>(c.heads) / static_cast<float>(c.hidden));
}

// Windows by the family's pattern; Llama files have none.
std::vector<std::int32_t> family_windows(GgufFields& fields, const std::string& prefix,
                                         const Family& family, std::size_t count) {
    std::vector<std::int32_t> out(count);
    if (family.gguf == "llama") return out;
    const std::string key = prefix + "attention.sliding_window";
    const std::int32_t window = family.window_pattern > 1 ? fields.size(key) : fields.size(key, 0);
    const auto every = static_cast<std::size_t>(family.window_pattern);
    for (std::size_t i = 0; i < count; ++i)
        if (every == 1 || i % every != every - 1) out[i] = window;
    return out;
}

// hearth.attention.window: per layer, 0 = global. hearth.attention.kv_source: per layer, the layer
// whose K and V it reads, itself if it writes its own.
void read_layers(GgufFields& fields, const std::string& prefix, const Family& family,
                 ModelConfig& c) {
    const std::int32_t layers = fields.size(prefix + "block_count");
    if (layers > 512) fields.fail(ErrorCode::kTooLarge, "over 512 layers");
    if (fields.failed()) return;
    const auto count = static_cast<std::size_t>(layers);
    std::vector<std::int32_t> windows;
    std::vector<std::int32_t> sources;
    if (prefix == "hearth.") {
        windows = fields.integers(prefix + "attention.window");
        sources = fields.integers(prefix + "attention.kv_source");
    }
    if (windows.empty()) windows = family_windows(fields, prefix, family, count);
    if (sources.empty()) {
        sources.resize(count);
        std::iota(sources.begin(), sources.end(), 0);
    }
    if (windows.size() != count || sources.size() != count) {
        fields.fail(ErrorCode::kCorrupt, "keys '" + prefix +
                                             "attention.window' and 'kv_source' "
                                             "need one entry per layer");
        return;
    }
    for (std::size_t i = 0; i < count; ++i) {
        LayerShape layer;
        layer.window = windows[i];
        layer.local_rope = layer.window > 0 && c.local_rope_theta > 0.0f;
        const auto source = static_cast<std::size_t>(sources[i]);
        layer.writes_kv = source == i;
        if (source > i || (source < i && !c.layers[source].writes_kv)) {
            fields.fail(ErrorCode::kCorrupt, "key '" + prefix + "attention.kv_source': layer " +
                                                 std::to_string(i) + " reads layer " +
                                                 std::to_string(sources[i]) +
                                                 ", which does not write K and V before it");
            return;
        }
        layer.kv_bank = layer.writes_kv ? c.kv_banks++ : c.layers[source].kv_bank;
        c.layers.push_back(layer);
    }
}

Result<ModelConfig> read_config(const GgufFile& file, std::int32_t vocab_size) {
    GgufFields fields(file);
    const std::string architecture = fields.text("general.architecture", "");
    const Family* family = family_of_gguf(architecture);
    if (family == nullptr)
        fields.fail(architecture.empty() ? ErrorCode::kCorrupt : ErrorCode::kUnsupported,
                    "key 'general.architecture' is " + in_quotes(architecture) +
                        " (supported: " + gguf_family_names() + ")");
    const std::string prefix = architecture + ".";
    ModelConfig c;
    c.name = legible(fields.text("general.name", ""), 200);
    // The number of tokens, not the optional key vocab_size: files with added tokens contradict it,
    // and the embedding matrix is checked against what the tokenizer can produce.
    c.vocab_size = vocab_size;
    if (!fields.failed()) read_sizes(fields, prefix, c);
    if (!fields.failed()) read_rope(file, fields, prefix, c);
    if (!fields.failed()) read_layers(fields, prefix, *family, c);
    if (!fields.failed()) read_attention(fields, prefix, *family, c);
    if (fields.failed()) return fields.error();
    c.tied_embeddings = !file.tensors().contains(kGgufNames.lm_head);
    c.qkv_bias = has_qkv_bias(file.tensors(), kGgufNames);
    if (const auto valid = validate(c); !valid) {
        const bool large = valid.error().code == ErrorCode::kTooLarge;
        return fault(large ? ErrorCode::kTooLarge : ErrorCode::kCorrupt, file.file(),
                     valid.error().message);
    }
    return c;
}

}  // namespace

Result<Checkpoint> load_gguf(std::span<const std::byte> bytes, const std::string& file,
                             const LoadOptions& options) {
    const auto parsed = GgufFile::parse(bytes, file);
    if (!parsed) return parsed.error();
    // The architecture first: of a file we cannot run, the tokenizer is not what to complain about.
    const GgufValue* tokens = parsed->find("tokenizer.ggml.tokens");
    const std::uint64_t token_count = tokens == nullptr ? 1 : tokens->count;
    auto config = read_config(
        *parsed, static_cast<std::int32_t>(std::min<std::uint64_t>(token_count, 1u << 30)));
    if (!config) return config.error();
    auto vocabulary = read_gguf_vocabulary(*parsed);
    if (!vocabulary) return vocabulary.error();

    Fingerprint fingerprint;
    add_to(fingerprint, *config);
    add_to(fingerprint, *vocabulary);
    const Family* family = family_of_gguf(GgufFields(*parsed).text("general.architecture", ""));
    const WeightsRequest request = {.file = file,
                                    .names = &kGgufNames,
                                    .ignored = kIgnored,
                                    .read_bytes = options.weights,
                                    .keep_floats = options.keep_floats,
                                    .scaled_embedding = family->scaled_embedding};
    auto weights = load_weights(parsed->tensors(), *config, request, fingerprint);
    if (!weights) return weights.error();

    GgufFields fields(*parsed);
    Checkpoint out;
    out.chat_template = fields.text("tokenizer.chat_template", "");
    if (fields.failed()) return fields.error();
    out.config = std::move(*config);
    out.vocabulary = std::move(*vocabulary);
    out.weights = std::move(*weights);
    out.fingerprint = fingerprint.value();
    return out;
}

}  // namespace hearth::engine
