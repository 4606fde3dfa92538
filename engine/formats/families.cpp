// The table of model families. Sources: the models' papers and their published config.json files.
#include "engine/formats/families.h"

namespace hearth::engine {

namespace {

constexpr Family kFamilies[] = {
    // Touvron et al. 2023; Grattafiori et al. 2024 (Llama 3); SmolLM2 is of this shape.
    {.gguf = "llama",
     .hugging_face = "LlamaForCausalLM",
     .model_type = "llama",
     .interleaved_in_gguf = true},
    // Hearth's own character shape: windows and shared KV banks per layer.
    {.gguf = "hearth", .hugging_face = "", .model_type = "", .interleaved_in_gguf = true},
    // Jiang et al. 2023. GGUF files of it say "llama".
    {.gguf = "",
     .hugging_face = "MistralForCausalLM",
     .model_type = "mistral",
     .kv_heads_default = 8,
     .context_default = 131'072},
    // Yang et al. 2024: biases on Q, K and V.
    {.gguf = "qwen2",
     .hugging_face = "Qwen2ForCausalLM",
     .model_type = "qwen2",
     .windows_optional = true,
     .context_default = 32'768},
    // Yang et al. 2025.
    {.gguf = "qwen3",
     .hugging_face = "Qwen3ForCausalLM",
     .model_type = "qwen3",
     .qk_norm = true,
     .windows_optional = true,
     .head_dim_default = 128,
     .context_default = 32'768},
    // Gemma Team 2024: layers 0, 2, 4, ... have windows.
    {.gguf = "gemma2",
     .hugging_face = "Gemma2ForCausalLM",
     .model_type = "gemma2",
     .post_norms = true,
     .gelu = true,
     .unit_offset_norms = true,
     .scaled_embedding = true,
     .tied_by_default = true,
     .window_pattern = 2,
     .kv_heads_default = 4,
     .head_dim_default = 256,
     .context_default = 8192,
     .attention_softcap = 50.0f,
     .logit_softcap = 30.0f,
     .layers_of_hidden_scale = 46},
    // Gemma Team 2025: five window layers, then a global one; windows have angles of their own.
    {.gguf = "gemma3",
     .hugging_face = "Gemma3ForCausalLM",
     .model_type = "gemma3_text",
     .qk_norm = true,
     .post_norms = true,
     .gelu = true,
     .unit_offset_norms = true,
     .scaled_embedding = true,
     .tied_by_default = true,
     .window_pattern = 6,
     .kv_heads_default = 4,
     .head_dim_default = 256,
     .context_default = 131'072,
     .rope_theta_default = 1'000'000.0f,
     .local_rope_theta = 10'000.0f,
     .layers_of_hidden_scale = 62},
    // Abdin et al. 2024: Q, K and V in one matrix, gate and up in another.
    {.gguf = "phi3",
     .hugging_face = "Phi3ForCausalLM",
     .model_type = "phi3",
     .context_default = 4096},
};

template <typename Name>
std::string joined(const Name& name) {
    std::string out;
    for (const Family& family : kFamilies) {
        if (name(family).empty()) continue;
        if (!out.empty()) out += ", ";
        out += name(family);
    }
    return out;
}

}  // namespace

std::span<const Family> families() {
    return kFamilies;
}

const Family* family_of_gguf(std::string_view architecture) {
    for (const Family& family : kFamilies)
        if (!architecture.empty() && family.gguf == architecture) return &family;
    return nullptr;
}

const Family* family_of_hugging_face(std::string_view architecture, std::string_view model_type) {
    for (const Family& family : kFamilies) {
        if (family.hugging_face.empty()) continue;
        const bool same = architecture.empty() ? family.model_type == model_type
                                               : family.hugging_face == architecture;
        if (same) return &family;
    }
    return nullptr;
}

std::string gguf_family_names() {
    return joined([](const Family& family) { return family.gguf; });
}

std::string hugging_face_family_names() {
    return joined([](const Family& family) { return family.hugging_face; });
}

}  // namespace hearth::engine
