// ForwardEngine: the transformer step over a Backend's ops. forward.cpp reads like the
// architecture.
#pragma once

#include <memory>
#include <vector>

#include "engine/engine.h"
#include "engine/kernels/aligned.h"
#include "engine/kernels/ops.h"

namespace hearth::engine {

// Checks that `weights` has the shapes that `config` says; the error names the tensor.
Result<void> check_shapes(const ModelConfig& config, const Weights& weights);

// One owner thread; owns weights and activation memory, which grows to the largest pass and stays.
class ForwardEngine final : public Engine {
  public:
    // The checkpoint has passed check_shapes(); its int8 copies are freed while they are packed.
    ForwardEngine(Checkpoint&& checkpoint, std::unique_ptr<Backend> backend);

    const ModelConfig& config() const override { return config_; }
    const KvLayout& kv_layout() const override { return kv_; }
    std::string backend_name() const override { return backend_->name(); }
    void step(std::span<const Slice> batch, std::span<float> logits) override;

  private:
    struct Layer {
        std::vector<float> attention_norm, ffn_norm;  // Padded to hidden_stride_.
        std::unique_ptr<PackedMatrix> qkv, wo, gate_up, down;
        std::vector<float> qkv_bias;                            // [qkv->rows] or empty.
        std::vector<float> q_norm, k_norm;                      // [head_dim] or empty.
        std::vector<float> key_shift;                           // [kv_heads][head_dim] or empty.
        std::vector<float> post_attention_norm, post_ffn_norm;  // Padded, or empty.
    };
    // What one pass computes: rows of several slices, and which of them want logits.
    struct Pass {
        std::vector<RowRun> runs;
        std::vector<TokenId> tokens;
        std::vector<std::int32_t> logit_rows;
    };

    Layer pack_layer(LayerWeights& weights, const LayerShape& shape);
    std::vector<float> key_shift(const LayerWeights& weights, const LayerShape& shape) const;
    void norm_heads(const Layer& layer, const LayerShape& shape, std::int32_t qkv_stride);
    void add_to_stream(const QuantRows& in, const PackedMatrix& w, const std::vector<float>& norm);
    void add_to_pass(const Slice& slice, std::int32_t from, std::int32_t count);
    void reserve(std::int32_t rows);
    void run_pass(float* logits);
    void attention(const Layer& layer, const LayerShape& shape);
    void feed_forward(const Layer& layer);
    void output(float* logits);
    QuantRows quant_rows(std::int32_t cols, bool rotated);
    QuantRows layer_input(std::int32_t cols) { return quant_rows(cols, !int4_); }
    std::int32_t rows() const { return static_cast<std::int32_t>(pass_.tokens.size()); }

    ModelConfig config_;
    KvLayout kv_;
    std::unique_ptr<Backend> backend_;
    RopeTable rope_, local_rope_;  // local_rope_: of layers that say so.
    bool int4_;                    // The matrices of layers are: their inputs are not rotated.
    std::int32_t hidden_stride_, ffn_stride_, heads_stride_;
    std::unique_ptr<PackedMatrix> embedding_, lm_head_;  // lm_head_ is null when tied.
    std::vector<Layer> layers_;
    std::vector<float> final_norm_;

    Pass pass_;
    AlignedBuffer<float> x_;        // [rows][hidden]: the residual stream
    AlignedBuffer<float> wide_;     // [rows][qkv or 2 * ffn]
    AlignedBuffer<float> mixed_;    // [rows][heads * head_dim]: attention's output
    AlignedBuffer<std::int8_t> q_;  // Quantised input of the next matmul
    AlignedBuffer<float> q_scale_;
    AlignedBuffer<std::int32_t> q_sum_;
    AlignedBuffer<std::int8_t> query_;
    AlignedBuffer<float> query_scale_;
    AlignedBuffer<std::int32_t> query_sum_;
};

}  // namespace hearth::engine
