// Reads config.json of a Hugging Face folder into a ModelConfig.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "engine/formats/families.h"
#include "engine/formats/fault.h"
#include "engine/formats/hf_model.h"
#include "engine/formats/json_file.h"

namespace hearth::engine {

namespace json = boost::json;

namespace {

// The first entry of `architectures`; empty where an old file names none.
std::string architecture(const json::object& config) {
    const json::value* list = member(config, "architectures");
    if (list == nullptr || !list->is_array() || list->get_array().empty() ||
        !list->get_array()[0].is_string())
        return {};
    return std::string(list->get_array()[0].get_string());
}

// One array of positive numbers, one for every rotated pair.
std::vector<float> numbers_at(const json::object& object, std::string_view key) {
    std::vector<float> out;
    const json::value* list = member(object, key);
    if (list == nullptr || !list->is_array()) return out;
    for (const json::value& each : list->get_array()) {
        boost::system::error_code code;
        const auto number = static_cast<float>(each.to_number<double>(code));
        out.push_back(code ? 0.0f : number);  // validate() refuses 0 and what is not finite.
    }
    return out;
}

// Reads one config.json; the first failure is kept in `fields`.
class ConfigReader {
  public:
    ConfigReader(const json::object& config, const Family& family, const std::string& file)
        : config_(config), family_(family), fields_(config, file) {}

    Result<ModelConfig> run() {
        refuse_unsupported();
        read_sizes();
        read_attention();
        read_ropes();
        read_layers();
        if (fields_.failed()) return fields_.error();
        return std::move(c_);
    }

  private:
    // Keys that change the arithmetic in a way the engine does not have.
    void refuse_unsupported() {
        for (const char* key : {"hidden_act", "hidden_activation"}) {
            const std::string_view activation = text_member(config_, key);
            const bool gelu = activation == "gelu_pytorch_tanh" || activation == "gelu";
            if (activation.empty() || (family_.gelu ? gelu : activation == "silu")) continue;
            fields_.fail(ErrorCode::kUnsupported,
                         "key " + in_quotes(key) + " is " + in_quotes(activation) +
                             " (supported here: " + (family_.gelu ? "gelu_pytorch_tanh" : "silu") +
                             ")");
        }
        if (member(config_, "quantization_config") != nullptr)
            fields_.fail(ErrorCode::kUnsupported,
                         "key 'quantization_config': quantised checkpoints (use GGUF for those)");
    }

    void read_sizes() {
        c_.name = legible(text_member(config_, "_name_or_path"), 200);
        c_.vocab_size = fields_.size("vocab_size");
        c_.hidden = fields_.size("hidden_size");
        c_.ffn_hidden = fields_.size("intermediate_size");
        c_.heads = fields_.size("num_attention_heads");
        const std::int32_t kv_default =
            family_.kv_heads_default > 0 ? family_.kv_heads_default : c_.heads;
        c_.kv_heads = fields_.size("num_key_value_heads", kv_default);
        const std::int32_t share = c_.heads > 0 ? c_.hidden / c_.heads : 0;
        const std::int32_t dim_default =
            family_.head_dim_default > 0 ? family_.head_dim_default : share;
        c_.head_dim = fields_.size("head_dim", dim_default);
        c_.context_length = fields_.size("max_position_embeddings", family_.context_default);
        c_.norm_eps = fields_.number("rms_norm_eps", 1e-6f);
        c_.tied_embeddings = fields_.flag("tie_word_embeddings", family_.tied_by_default);
        c_.post_norms = family_.post_norms;
        c_.qk_norm = family_.qk_norm;
        c_.activation = family_.gelu ? Activation::kGelu : Activation::kSilu;
    }

    // A key that is absent means the family's default; null means none.
    float cap(const char* key, float fallback) {
        return config_.contains(key) ? fields_.number(key, 0.0f) : fallback;
    }

    void read_attention() {
        if (family_.post_norms) {  // The Gemmas.
            c_.attention_softcap = cap("attn_logit_softcapping", family_.attention_softcap);
            c_.logit_softcap = cap("final_logit_softcapping", family_.logit_softcap);
            const float scalar = fields_.number("query_pre_attn_scalar", 256.0f);
            if (scalar > 0.0f) c_.attention_scale = 1.0f / std::sqrt(scalar);
        }
    }

    void read_ropes() {
        c_.rope_style = RopeStyle::kHalves;
        c_.rope_theta = fields_.number("rope_theta", family_.rope_theta_default);
        const float part = fields_.number("partial_rotary_factor", 1.0f);
        if (!(part > 0.0f && part <= 1.0f))
            fields_.fail(ErrorCode::kCorrupt, "key 'partial_rotary_factor' is not in (0, 1]");
        c_.rope_dim = static_cast<std::int32_t>(static_cast<float>(c_.head_dim) * part);
        if (family_.local_rope_theta > 0.0f)
            c_.local_rope_theta = fields_.number("rope_local_base_freq", family_.local_rope_theta);
        for (const char* key : {"rope_scaling", "rope_parameters"}) {
            const json::object* scaling = object_member(config_, key);
            if (scaling == nullptr) continue;
            // Newer exporters have one set for each kind of layer.
            if (const json::object* full = object_member(*scaling, "full_attention")) {
                read_scaling(*full, key);
                const json::object* local = object_member(*scaling, "sliding_attention");
                if (local != nullptr)
                    c_.local_rope_theta =
                        JsonFields(*local, key).number("rope_theta", c_.local_rope_theta);
            } else {
                read_scaling(*scaling, key);
            }
        }
    }

    // rope_scaling, or rope_parameters as newer exporters call it.
    void read_scaling(const json::object& scaling, const std::string& key) {
        std::string_view type = text_member(scaling, "rope_type");
        if (type.empty()) type = text_member(scaling, "type");
        JsonFields rope(scaling, key);
        c_.rope_theta = rope.number("rope_theta", c_.rope_theta);
        if (type == "llama3") {
            c_.rope_scaling.factor = rope.number("factor", 8.0f);
            c_.rope_scaling.low_freq_factor = rope.number("low_freq_factor", 1.0f);
            c_.rope_scaling.high_freq_factor = rope.number("high_freq_factor", 4.0f);
            c_.rope_scaling.original_context = rope.size("original_max_position_embeddings", 8192);
        } else if (type == "linear") {
            const float factor = rope.number("factor", 1.0f);
            if (c_.rope_dim <= 512 && factor != 1.0f)
                c_.rope_freq_factors.assign(static_cast<std::size_t>(c_.rope_dim / 2), factor);
        } else if (type == "longrope" || type == "su") {
            read_long_rope(scaling, rope);
        } else if (!type.empty() && type != "default") {
            fields_.fail(ErrorCode::kUnsupported,
                         "key '" + key + "' is of type " + in_quotes(type) +
                             " (supported: default, linear, llama3, longrope)");
        }
        if (rope.failed()) fields_.fail(rope.error().code, rope.error().message);
    }

    // LongRoPE (Ding et al. 2024). Which of the two lists applies goes by the model's context, not
    // by the length of a text: keys in pages would change their angles when a chat grows.
    void read_long_rope(const json::object& scaling, JsonFields& rope) {
        const std::int32_t original =
            fields_.size("original_max_position_embeddings",
                         rope.size("original_max_position_embeddings", c_.context_length));
        const bool extended = c_.context_length > original;
        c_.rope_freq_factors = numbers_at(scaling, extended ? "long_factor" : "short_factor");
        if (c_.rope_freq_factors.size() != static_cast<std::size_t>(c_.rope_dim / 2))
            rope.fail(ErrorCode::kCorrupt, "one factor for each of " +
                                               std::to_string(c_.rope_dim / 2) +
                                               " pairs is called for");
        if (!extended || original < 2) return;
        const double grown = static_cast<double>(c_.context_length) / original;
        const auto magnitude =
            static_cast<float>(std::sqrt(1.0 + std::log(grown) / std::log(double(original))));
        c_.rope_magnitude = rope.number("attention_factor", magnitude);
    }

    // Which layers have a window: layer_types names each; else the family's pattern says.
    std::vector<bool> window_layers(std::int32_t layers) {
        std::vector<bool> out;
        const json::value* types = member(config_, "layer_types");
        if (types != nullptr && types->is_array()) {
            for (const json::value& type : types->get_array())
                out.push_back(type.is_string() && type.get_string() == "sliding_attention");
            if (out.size() != static_cast<std::size_t>(layers))
                fields_.fail(ErrorCode::kCorrupt, "key 'layer_types' needs one entry per layer");
            return out;
        }
        const std::int32_t every = std::max(
            1, fields_.size("sliding_window_pattern",
                            fields_.size("_sliding_window_pattern", family_.window_pattern)));
        const std::int32_t first =
            family_.windows_optional ? fields_.size("max_window_layers", 28) : 0;
        for (std::int32_t i = 0; i < layers; ++i)
            out.push_back(i >= first && (every == 1 || i % every != every - 1));
        return out;
    }

    void read_layers() {
        const std::int32_t layers = fields_.size("num_hidden_layers");
        if (layers > 512) fields_.fail(ErrorCode::kTooLarge, "over 512 layers");
        const bool has_windows = family_.hugging_face != "LlamaForCausalLM" &&
                                 fields_.flag("use_sliding_window", !family_.windows_optional);
        const std::int32_t window = has_windows ? fields_.size("sliding_window", 0) : 0;
        if (fields_.failed()) return;
        const std::vector<bool> windowed = window_layers(layers);
        if (fields_.failed()) return;
        for (const bool local : windowed) {
            LayerShape layer;
            layer.kv_bank = c_.kv_banks++;
            layer.window = local ? window : 0;
            layer.local_rope = local && c_.local_rope_theta > 0.0f;
            c_.layers.push_back(layer);
        }
    }

    const json::object& config_;
    const Family& family_;
    JsonFields fields_;
    ModelConfig c_;
};

}  // namespace

Result<ModelConfig> read_hf_config(const json::object& config, const std::string& file) {
    const std::string name = architecture(config);
    const std::string_view type = text_member(config, "model_type");
    const Family* family = family_of_hugging_face(name, type);
    if (family == nullptr)
        return unsupported(file, "key 'architectures' is " +
                                     in_quotes(name.empty() ? type : std::string_view(name)) +
                                     " (supported: " + hugging_face_family_names() + ")");
    return ConfigReader(config, *family, file).run();
}

const Family* hf_family(const json::object& config) {
    return family_of_hugging_face(architecture(config), text_member(config, "model_type"));
}

}  // namespace hearth::engine
