// families.h: the model families that Hearth loads, as data: what their files do not state.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace hearth::engine {

// Immutable. A field is what holds for every model of the family; sizes, windows, caps and angles
// come from the file, and these are its defaults.
struct Family {
    std::string_view gguf;          // general.architecture; empty: GGUF calls it by another name.
    std::string_view hugging_face;  // The name in config.json's architectures; empty: none.
    std::string_view model_type;    // config.json's model_type.
    bool interleaved_in_gguf = false;  // Converters permute Q and K rows (RopeStyle).
    bool qk_norm = false;
    bool post_norms = false;
    bool gelu = false;
    bool unit_offset_norms = false;  // Hugging Face's gains are stored minus 1.
    bool scaled_embedding = false;   // Embeddings are multiplied by sqrt(hidden).
    bool tied_by_default = false;
    std::int32_t window_pattern = 1;    // > 1: every n-th layer is global, the others have windows.
    bool windows_optional = false;      // Windows count only with use_sliding_window.
    std::int32_t kv_heads_default = 0;  // Hugging Face; 0: as many as query heads.
    std::int32_t head_dim_default = 0;  // Hugging Face; 0: hidden / heads.
    std::int32_t context_default = 2048;
    float rope_theta_default = 10000.0f;
    float local_rope_theta = 0.0f;  // Of window layers; 0: the same as global ones.
    float attention_softcap = 0.0f;
    float logit_softcap = 0.0f;
    // GGUF has no key for the scale of scores: with this many layers it is sqrt(heads / hidden).
    std::int32_t layers_of_hidden_scale = 0;
};

std::span<const Family> families();

// Null if there is none.
const Family* family_of_gguf(std::string_view architecture);
const Family* family_of_hugging_face(std::string_view architecture, std::string_view model_type);

// "llama, hearth, ...": for messages.
std::string gguf_family_names();
std::string hugging_face_family_names();

}  // namespace hearth::engine
