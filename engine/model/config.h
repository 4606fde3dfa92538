// ModelConfig: the shape of a model as data. Windows and shared KV banks are a per-layer table.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "common/base/result.h"

namespace hearth::engine {

using TokenId = std::int32_t;

// Which pairs of a head's elements RoPE rotates together (Su et al. 2021; two layouts are in use).
enum class RopeStyle {
    kInterleaved,  // (0,1), (2,3), ...: GGUF "llama" files, whose Q and K rows are permuted for it.
    kHalves,       // (0, d/2), (1, d/2+1), ...: Hugging Face checkpoints.
};

// Llama 3's rescaling of low RoPE frequencies; factor 1 means none.
struct RopeScaling {
    float factor = 1.0f;
    float low_freq_factor = 1.0f;
    float high_freq_factor = 4.0f;
    std::int32_t original_context = 8192;
};

struct LayerShape {
    std::int32_t kv_bank = 0;  // Bank whose K and V this layer reads.
    bool writes_kv = true;     // False: the bank was written by an earlier layer (shared KV).
    std::int32_t window = 0;   // Attends to the last `window` tokens, itself included; 0 = all.
    bool local_rope = false;   // Rotates by local_rope_theta, without rescaling (Gemma 3).
};

// What the feed-forward layer multiplies `up` by.
enum class Activation {
    kSilu,  // SwiGLU (Shazeer 2020)
    kGelu,  // GeGLU with the tanh approximation of GELU (Hendrycks and Gimpel 2016)
};

struct ModelConfig {
    std::string name;  // Human name from the file, for /v1/models when none is configured.
    std::int32_t vocab_size = 0;
    std::int32_t hidden = 0;  // Width of the residual stream.
    std::int32_t ffn_hidden = 0;
    std::int32_t heads = 0;     // Query heads.
    std::int32_t kv_heads = 0;  // KV heads of every bank; heads % kv_heads == 0.
    std::int32_t head_dim = 0;
    std::int32_t context_length = 0;  // Longest sequence, in tokens.
    std::int32_t kv_banks = 0;        // Number of distinct KV banks (= layers when none is shared).
    float norm_eps = 1e-5f;
    float rope_theta = 10000.0f;
    std::int32_t rope_dim = 0;  // Rotated elements at the front of a head; usually head_dim.
    RopeStyle rope_style = RopeStyle::kHalves;
    RopeScaling rope_scaling;
    // Divisor of each rotated pair's frequency (GGUF rope_freqs.weight, linear scaling): rope_dim/2
    // entries, or empty = none. A loaded model uses this or rope_scaling, never both.
    std::vector<float> rope_freq_factors;
    float rope_magnitude = 1.0f;    // Cosines and sines are multiplied by it (longrope).
    float local_rope_theta = 0.0f;  // Of layers with local_rope; 0 if there are none.
    bool tied_embeddings = false;   // lm_head is the embedding matrix.
    bool qkv_bias = false;
    bool qk_norm = false;     // RMSNorm of every head of Q and K before RoPE (Qwen 3, Gemma 3).
    bool post_norms = false;  // RMSNorm of what a layer adds to the stream, too (Gemma 2 and 3).
    Activation activation = Activation::kSilu;
    float attention_scale = 0.0f;    // Of Q K; 0 = 1 / sqrt(head_dim).
    float attention_softcap = 0.0f;  // Scores become cap * tanh(score / cap); 0 = as they are.
    float logit_softcap = 0.0f;      // The same for logits.
    std::vector<LayerShape> layers;

    float score_scale() const;  // attention_scale, or what its 0 stands for.
    std::int32_t layer_count() const { return static_cast<std::int32_t>(layers.size()); }
};

// Checks every limit and cross-field rule (positive sizes, divisibility, banks written before they
// are read, absurd sizes). The error names the field. Limits: hidden, ffn <= 131,072; vocab <=
// 1,048,576; layers <= 512; head_dim <= 512 and a multiple of 4; context <= 16,777,216.
Result<void> validate(const ModelConfig& config);

}  // namespace hearth::engine
