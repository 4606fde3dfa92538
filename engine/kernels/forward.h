// ForwardEngine: the transformer step over a Backend's ops. forward.cpp reads like the
// architecture.
#pragma once

#include <memory>
#include <vector>

#include "engine/engine.h"
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
    Result<void> use_page_memory(std::span<std::byte> memory) override {
        return backend_->use_page_memory(memory);
    }
    void page_changed(const std::byte* page) override { backend_->page_changed(page); }
    std::optional<DeviceFigures> device_figures() const override {
        return backend_->device_figures();
    }

    // To be called once before the first step.
    Result<void> prepare();

  private:
    using Constants = std::shared_ptr<const float>;
    // Memory of the backend, which grows to the largest pass and stays.
    template <typename T>
    struct Buffer {
        std::shared_ptr<std::byte> memory;
        std::size_t size = 0;
        T* data() const { return reinterpret_cast<T*>(memory.get()); }
        void reserve(Backend& backend, std::size_t count) {
            if (count <= size) return;
            memory = backend.allocate(count * sizeof(T));
            size = count;
        }
    };
    struct Layer {
        Constants attention_norm, ffn_norm;  // Padded to hidden_stride_.
        std::unique_ptr<PackedMatrix> qkv, wo, gate_up, down;
        Constants qkv_bias;                            // [qkv->rows] or null.
        Constants q_norm, k_norm;                      // [head_dim] or null.
        Constants key_shift;                           // [kv_heads][head_dim] or null.
        Constants post_attention_norm, post_ffn_norm;  // Padded, or null.
    };
    // What one pass computes: rows of several slices, and which of them want logits.
    struct Rows {
        std::vector<RowRun> runs;
        std::vector<TokenId> tokens;
        std::vector<std::int32_t> logit_rows;
    };

    Layer pack_layer(LayerWeights& weights, const LayerShape& shape);
    std::vector<float> key_shift(const LayerWeights& weights, const LayerShape& shape) const;
    void norm_heads(const Layer& layer, const LayerShape& shape, std::int32_t qkv_stride);
    void add_to_stream(const QuantRows& in, const PackedMatrix& w, const Constants& norm);
    void add_to_pass(const Slice& slice, std::int32_t from, std::int32_t count);
    void reserve(std::int32_t rows);
    void run_pass(float* logits);
    void attention(const Layer& layer, const LayerShape& shape);
    void feed_forward(const Layer& layer);
    void output(float* logits);
    QuantRows quant_rows(std::int32_t cols, bool rotated);
    QuantRows layer_input(std::int32_t cols) { return quant_rows(cols, !int4_); }
    std::vector<float> stacked_bias(const LayerWeights& weights) const;
    std::int32_t rows() const { return static_cast<std::int32_t>(pass_.tokens.size()); }

    ModelConfig config_;
    KvLayout kv_;
    std::unique_ptr<Backend> backend_;
    RopeTable rope_, local_rope_;  // local_rope_: of layers that say so.
    bool int4_;                    // The matrices of layers are: their inputs are not rotated.
    std::int32_t hidden_stride_, ffn_stride_, heads_stride_;
    std::unique_ptr<PackedMatrix> embedding_, lm_head_;  // lm_head_ is null when tied.
    std::vector<Layer> layers_;
    Constants final_norm_;

    Rows pass_;
    PassShape shape_;         // Of the pass that is under way.
    std::int64_t pages_ = 0;  // That it has.
    Buffer<float> x_;         // [rows][hidden]: the residual stream
    Buffer<float> wide_;      // [rows][qkv or 2 * ffn]
    Buffer<float> mixed_;     // [rows][heads * head_dim]: attention's output
    Buffer<std::int8_t> q_;   // Quantised input of the next matmul
    Buffer<float> q_scale_;
    Buffer<std::int32_t> q_sum_;
    Buffer<std::int8_t> query_;
    Buffer<float> query_scale_;
    Buffer<std::int32_t> query_sum_;
};

}  // namespace hearth::engine
