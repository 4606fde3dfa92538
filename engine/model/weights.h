// Weights: what a checkpoint holds after loading: int8 matrices with one scale per output channel.
#pragma once

#include <cstdint>
#include <vector>

#include "engine/model/config.h"

namespace hearth::engine {

// Row-major [rows = output channels][cols = input channels]; w[r][c] = q[r * cols + c] * scale[r].
// q is in [-127, 127] (symmetric, round to nearest even). All zero rows have scale 0.
struct QuantMatrix {
    std::int32_t rows = 0;
    std::int32_t cols = 0;
    std::vector<std::int8_t> q;
    std::vector<float> scale;
    bool int4 = false;               // To be packed as int4 (kernels/int4.h).
    std::vector<float> values = {};  // [rows][cols] as the file has them; only with keep_floats.
};

struct LayerWeights {
    std::vector<float> attention_norm;  // [hidden]
    QuantMatrix wq;                     // [heads * head_dim, hidden]
    QuantMatrix wk, wv;                 // [kv_heads * head_dim, hidden]; empty if !writes_kv
    std::vector<float> bq, bk, bv;      // empty unless config.qkv_bias
    std::vector<float> q_norm, k_norm;  // [head_dim]; empty unless config.qk_norm
    QuantMatrix wo;                     // [hidden, heads * head_dim]
    std::vector<float> ffn_norm;        // [hidden]
    QuantMatrix gate, up;               // [ffn_hidden, hidden]
    QuantMatrix down;                   // [hidden, ffn_hidden]
    // [hidden], of what attention and feed-forward add; empty unless config.post_norms
    std::vector<float> post_attention_norm, post_ffn_norm;
};

struct Weights {
    // [vocab, hidden]; rows are looked up, and lm_head if tied. A family's scale of embeddings is
    // in it (and taken off by final_norm if tied).
    QuantMatrix embedding;
    std::vector<LayerWeights> layers;
    std::vector<float> final_norm;  // [hidden]
    QuantMatrix lm_head;            // [vocab, hidden]; empty if config.tied_embeddings
};

// Quantises one row of finite floats to `q` (cols entries) and returns its scale, absmax / 127.
float quantize_row(const float* values, std::int32_t cols, std::int8_t* q);

// Quantises one matrix of finite floats, symmetric per row: scale = absmax / 127.
QuantMatrix quantize_rows(const float* values, std::int32_t rows, std::int32_t cols);

}  // namespace hearth::engine
