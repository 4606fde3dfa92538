// Reads config.json of a Hugging Face Llama into a ModelConfig.
#include <cstdint>
#include <string>
#include <string_view>

#include "engine/formats/fault.h"
#include "engine/formats/hf_model.h"
#include "engine/formats/json_file.h"

namespace hearth::engine {

namespace json = boost::json;

namespace {

// "LlamaForCausalLM", or what model_type implies where an old file names no architecture.
std::string architecture(const json::object& config) {
    const json::value* list = member(config, "architectures");
    if (list != nullptr && list->is_array() && !list->get_array().empty() &&
        list->get_array()[0].is_string())
        return std::string(list->get_array()[0].get_string());
    const std::string_view type = text_member(config, "model_type");
    if (type == "llama") return "LlamaForCausalLM";
    if (type == "mistral") return "MistralForCausalLM";
    return std::string(type);
}

// rope_scaling of config.json, or rope_parameters as newer exporters call it.
void read_rope_scaling(const json::object& scaling, const std::string& key, JsonFields& fields,
                       ModelConfig& c) {
    std::string_view type = text_member(scaling, "rope_type");
    if (type.empty()) type = text_member(scaling, "type");
    JsonFields rope(scaling, key);
    c.rope_theta = rope.number("rope_theta", c.rope_theta);
    if (type == "llama3") {
        c.rope_scaling.factor = rope.number("factor", 8.0f);
        c.rope_scaling.low_freq_factor = rope.number("low_freq_factor", 1.0f);
        c.rope_scaling.high_freq_factor = rope.number("high_freq_factor", 4.0f);
        c.rope_scaling.original_context = rope.size("original_max_position_embeddings", 8192);
    } else if (type == "linear") {
        const float factor = rope.number("factor", 1.0f);
        if (c.head_dim <= 512 && factor != 1.0f)
            c.rope_freq_factors.assign(static_cast<std::size_t>(c.head_dim / 2), factor);
    } else if (!type.empty() && type != "default") {
        fields.fail(ErrorCode::kUnsupported, "key '" + key + "' is of type " + in_quotes(type) +
                                                 " (supported: default, linear, llama3)");
    }
    if (rope.failed()) fields.fail(rope.error().code, rope.error().message);
}

// Keys that change the arithmetic in a way the engine does not have.
void refuse_unsupported(const json::object& config, JsonFields& fields) {
    const std::string_view activation = text_member(config, "hidden_act");
    if (!activation.empty() && activation != "silu")
        fields.fail(ErrorCode::kUnsupported,
                    "key 'hidden_act' is " + in_quotes(activation) + " (supported: silu)");
    if (member(config, "quantization_config") != nullptr)
        fields.fail(ErrorCode::kUnsupported,
                    "key 'quantization_config': quantised checkpoints (use GGUF for those)");
}

}  // namespace

Result<ModelConfig> read_hf_config(const json::object& config, const std::string& file) {
    JsonFields fields(config, file);
    const std::string kind = architecture(config);
    const bool mistral = kind == "MistralForCausalLM";
    if (kind != "LlamaForCausalLM" && !mistral)
        return unsupported(file, "key 'architectures' is " + in_quotes(kind) +
                                     " (supported: LlamaForCausalLM, MistralForCausalLM)");
    refuse_unsupported(config, fields);
    ModelConfig c;
    c.name = legible(text_member(config, "_name_or_path"), 200);
    c.vocab_size = fields.size("vocab_size");
    c.hidden = fields.size("hidden_size");
    c.ffn_hidden = fields.size("intermediate_size");
    c.heads = fields.size("num_attention_heads");
    c.kv_heads = fields.size("num_key_value_heads", mistral ? 8 : c.heads);
    c.head_dim = fields.size("head_dim", c.heads > 0 ? c.hidden / c.heads : 0);
    c.context_length = fields.size("max_position_embeddings", mistral ? 131'072 : 2048);
    c.norm_eps = fields.number("rms_norm_eps", 1e-6f);
    c.rope_theta = fields.number("rope_theta", 10000.0f);
    c.rope_dim = c.head_dim;
    c.rope_style = RopeStyle::kHalves;
    c.tied_embeddings = fields.flag("tie_word_embeddings", false);
    for (const char* key : {"rope_scaling", "rope_parameters"})
        if (const json::object* scaling = object_member(config, key))
            read_rope_scaling(*scaling, key, fields, c);

    const std::int32_t layers = fields.size("num_hidden_layers");
    if (layers > 512) fields.fail(ErrorCode::kTooLarge, "over 512 layers");
    LayerShape layer;
    if (mistral) layer.window = fields.size("sliding_window", 0);  // Null: no window.
    if (fields.failed()) return fields.error();
    for (c.kv_banks = 0; c.kv_banks < layers; ++c.kv_banks) {
        layer.kv_bank = c.kv_banks;
        c.layers.push_back(layer);
    }
    return c;
}

}  // namespace hearth::engine
