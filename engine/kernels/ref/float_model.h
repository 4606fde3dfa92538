// FloatModel: the same step in plain float with no cache, the yardstick of what int8 costs.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "engine/kernels/rope.h"
#include "engine/kernels/thread_pool.h"
#include "engine/model/checkpoint.h"

namespace hearth::engine {

// Weights are QuantMatrix::values, or int8 times scale where a checkpoint was loaded without them.
// Nothing else is quantised: not activations, nor K and V. One owner thread; no Engine, as it has
// no pages and computes a text as a whole.
class FloatModel {
  public:
    // The checkpoint has passed validate() and check_shapes().
    FloatModel(Checkpoint&& checkpoint, std::int32_t threads);

    const ModelConfig& config() const { return config_; }
    // Logits after every token, [tokens][vocab_size]. Time grows with the square of the tokens.
    std::vector<float> logits(std::span<const TokenId> tokens);

  private:
    struct Bank {
        std::vector<float> k, v;  // [tokens][kv_heads][head_dim]
    };

    void attention(const LayerWeights& w, const LayerShape& shape, std::vector<float>& x);
    void feed_forward(const LayerWeights& w, std::vector<float>& x);
    void write_bank(const LayerWeights& w, const RopeTable& rope, const std::vector<float>& n,
                    Bank& bank);
    void mix(const LayerShape& shape, const std::vector<float>& q, std::int32_t row,
             std::vector<float>& out) const;
    std::vector<float> project(const QuantMatrix& w, const std::vector<float>& bias,
                               const std::vector<float>& x);
    std::vector<float> normed(const std::vector<float>& x, const std::vector<float>& gain) const;
    void rotate(const RopeTable& rope, std::vector<float>& heads) const;
    void add(const std::vector<float>& y, const std::vector<float>& norm,
             std::vector<float>& x) const;

    ModelConfig config_;
    Weights weights_;
    RopeTable rope_, local_rope_;
    ThreadPool pool_;
    std::vector<Bank> banks_;
    std::int32_t count_ = 0;  // Tokens of this text.
};

}  // namespace hearth::engine
