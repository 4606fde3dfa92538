// The float step. Sums of products run over 16 lanes; all else is written as the formulas read.
#include "engine/kernels/ref/float_model.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numbers>
#include <utility>

namespace hearth::engine {
namespace {

typedef float Lanes __attribute__((vector_size(64)));
constexpr std::int32_t kLanes = 16;
constexpr std::int32_t kRowsAtOnce = 4;

// out[m] = x[m] . w for up to four rows of `cols` floats. This yardstick need not give the same
// bits on every machine, so each may use what it has.
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && \
    !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
__attribute__((target_clones("default", "arch=x86-64-v3", "arch=x86-64-v4")))
#endif
void dot_rows(const float* x, const float* w, std::int32_t cols, std::int32_t rows, float* out) {
    Lanes sum[kRowsAtOnce] = {};
    const std::int32_t whole = cols / kLanes * kLanes;
    for (std::int32_t k = 0; k < whole; k += kLanes) {
        Lanes b;
        std::memcpy(&b, w + k, sizeof b);
        for (std::int32_t m = 0; m < rows; ++m) {
            Lanes a;
            std::memcpy(&a, x + m * cols + k, sizeof a);
            sum[m] += a * b;
        }
    }
    for (std::int32_t m = 0; m < rows; ++m) {
        float total = 0.0f;
        for (std::int32_t i = 0; i < kLanes; ++i) total += sum[m][i];
        for (std::int32_t k = whole; k < cols; ++k) total += x[m * cols + k] * w[k];
        out[m] = total;
    }
}

void fill_values(QuantMatrix& m) {
    if (m.values.empty()) {
        m.values.resize(m.q.size());
        const auto cols = static_cast<std::size_t>(m.cols);
        for (std::size_t i = 0; i < m.q.size(); ++i)
            m.values[i] = static_cast<float>(m.q[i]) * m.scale[i / cols];
    }
    m.q = {};
}

void normalize(float* x, const std::vector<float>& gain, float eps) {
    double squares = 0.0;
    for (std::size_t i = 0; i < gain.size(); ++i) squares += double{x[i]} * x[i];
    const double rms = std::sqrt(squares / static_cast<double>(gain.size()) + eps);
    for (std::size_t i = 0; i < gain.size(); ++i) x[i] = static_cast<float>(x[i] / rms) * gain[i];
}

// Every run of gain.size() floats.
void normalize_all(std::vector<float>& x, const std::vector<float>& gain, float eps) {
    for (std::size_t at = 0; at < x.size(); at += gain.size()) normalize(x.data() + at, gain, eps);
}

double activated(Activation activation, double x) {
    if (activation == Activation::kSilu) return x / (1.0 + std::exp(-x));
    const double u = std::sqrt(2.0 / std::numbers::pi) * (x + 0.044715 * x * x * x);
    return 0.5 * x * (1.0 + std::tanh(u));
}

}  // namespace

FloatModel::FloatModel(Checkpoint&& checkpoint, std::int32_t threads)
    : config_(std::move(checkpoint.config)),
      weights_(std::move(checkpoint.weights)),
      rope_(config_),
      local_rope_(config_, true),
      pool_(threads) {
    fill_values(weights_.embedding);
    fill_values(weights_.lm_head);
    for (LayerWeights& w : weights_.layers)
        for (QuantMatrix* m : {&w.wq, &w.wk, &w.wv, &w.wo, &w.gate, &w.up, &w.down})
            fill_values(*m);
}

std::vector<float> FloatModel::logits(std::span<const TokenId> tokens) {
    count_ = static_cast<std::int32_t>(tokens.size());
    rope_.grow(count_);
    if (config_.local_rope_theta > 0.0f) local_rope_.grow(count_);
    banks_.assign(static_cast<std::size_t>(config_.kv_banks), {});
    const auto hidden = static_cast<std::size_t>(config_.hidden);
    std::vector<float> x;
    for (const TokenId token : tokens) {
        const float* row =
            weights_.embedding.values.data() + static_cast<std::size_t>(token) * hidden;
        x.insert(x.end(), row, row + hidden);
    }
    for (std::size_t i = 0; i < weights_.layers.size(); ++i) {
        attention(weights_.layers[i], config_.layers[i], x);
        feed_forward(weights_.layers[i], x);
    }
    const QuantMatrix& head = config_.tied_embeddings ? weights_.embedding : weights_.lm_head;
    std::vector<float> out = project(head, {}, normed(x, weights_.final_norm));
    if (const float cap = config_.logit_softcap; cap > 0.0f)
        for (float& v : out) v = cap * std::tanh(v / cap);
    return out;
}

std::vector<float> FloatModel::project(const QuantMatrix& w, const std::vector<float>& bias,
                                       const std::vector<float>& x) {
    const auto rows = static_cast<std::size_t>(w.rows), cols = static_cast<std::size_t>(w.cols);
    std::vector<float> out(static_cast<std::size_t>(count_) * rows);
    constexpr std::int32_t kChannels = 64;
    pool_.run((w.rows + kChannels - 1) / kChannels, [&](std::int32_t task, std::int32_t) {
        const std::int32_t end = std::min(w.rows, (task + 1) * kChannels);
        for (std::int32_t m = 0; m < count_; m += kRowsAtOnce) {
            const std::int32_t at_once = std::min(kRowsAtOnce, count_ - m);
            for (auto n = static_cast<std::size_t>(task * kChannels);
                 n < static_cast<std::size_t>(end); ++n) {
                float sums[kRowsAtOnce];
                dot_rows(x.data() + static_cast<std::size_t>(m) * cols, w.values.data() + n * cols,
                         w.cols, at_once, sums);
                for (std::int32_t i = 0; i < at_once; ++i)
                    out[static_cast<std::size_t>(m + i) * rows + n] =
                        sums[i] + (bias.empty() ? 0.0f : bias[n]);
            }
        }
    });
    return out;
}

std::vector<float> FloatModel::normed(const std::vector<float>& x,
                                      const std::vector<float>& gain) const {
    std::vector<float> out = x;
    normalize_all(out, gain, config_.norm_eps);
    return out;
}

// x += y, or x += norm(y) where the family has such norms.
void FloatModel::add(const std::vector<float>& y, const std::vector<float>& norm,
                     std::vector<float>& x) const {
    const std::vector<float> change = norm.empty() ? y : normed(y, norm);
    for (std::size_t i = 0; i < x.size(); ++i) x[i] += change[i];
}

// heads: [tokens][any number of heads][head_dim]
void FloatModel::rotate(const RopeTable& rope, std::vector<float>& heads) const {
    const auto dim = static_cast<std::size_t>(config_.head_dim);
    const std::size_t per_token = heads.size() / static_cast<std::size_t>(count_);
    const bool halves = rope.style() == RopeStyle::kHalves;
    for (std::size_t at = 0; at < heads.size(); at += dim) {
        const auto position = static_cast<std::int32_t>(at / per_token);
        const float *cosine = rope.cos_of(position), *sine = rope.sin_of(position);
        for (std::int32_t i = 0; i < rope.pairs(); ++i) {
            float& a = heads[at + static_cast<std::size_t>(halves ? i : 2 * i)];
            float& b = heads[at + static_cast<std::size_t>(halves ? i + rope.pairs() : 2 * i + 1)];
            const float a0 = a, b0 = b;
            a = a0 * cosine[i] - b0 * sine[i];
            b = a0 * sine[i] + b0 * cosine[i];
        }
    }
}

void FloatModel::write_bank(const LayerWeights& w, const RopeTable& rope,
                            const std::vector<float>& n, Bank& bank) {
    bank.k = project(w.wk, w.bk, n);
    bank.v = project(w.wv, w.bv, n);
    if (config_.qk_norm) normalize_all(bank.k, w.k_norm, config_.norm_eps);
    rotate(rope, bank.k);
}

void FloatModel::attention(const LayerWeights& w, const LayerShape& shape, std::vector<float>& x) {
    const std::vector<float> n = normed(x, w.attention_norm);
    const RopeTable& rope = shape.local_rope ? local_rope_ : rope_;
    Bank& bank = banks_[static_cast<std::size_t>(shape.kv_bank)];
    if (shape.writes_kv) write_bank(w, rope, n, bank);
    std::vector<float> q = project(w.wq, w.bq, n);
    if (config_.qk_norm) normalize_all(q, w.q_norm, config_.norm_eps);
    rotate(rope, q);
    std::vector<float> mixed(q.size());
    pool_.run(count_, [&](std::int32_t row, std::int32_t) { mix(shape, q, row, mixed); });
    add(project(w.wo, {}, mixed), w.post_attention_norm, x);
}

// Softmax over what the row may see, for each of its heads.
void FloatModel::mix(const LayerShape& shape, const std::vector<float>& q, std::int32_t row,
                     std::vector<float>& out) const {
    const Bank& bank = banks_[static_cast<std::size_t>(shape.kv_bank)];
    const auto dim = static_cast<std::size_t>(config_.head_dim);
    const auto kv_heads = static_cast<std::size_t>(config_.kv_heads);
    const auto heads = static_cast<std::size_t>(config_.heads);
    const std::int32_t first = shape.window == 0 ? 0 : std::max(0, row - shape.window + 1);
    const float cap = config_.attention_softcap;
    std::vector<float> p(static_cast<std::size_t>(row - first + 1));
    for (std::size_t h = 0; h < heads; ++h) {
        const std::size_t at = (static_cast<std::size_t>(row) * heads + h) * dim;
        const std::size_t kv = h / (heads / kv_heads) * dim;
        const auto key_at = [&](std::size_t j) {
            return (static_cast<std::size_t>(first) + j) * kv_heads * dim + kv;
        };
        float largest = -INFINITY;
        for (std::size_t j = 0; j < p.size(); ++j) {
            dot_rows(bank.k.data() + key_at(j), q.data() + at, config_.head_dim, 1, &p[j]);
            p[j] *= config_.score_scale();
            if (cap > 0.0f) p[j] = cap * std::tanh(p[j] / cap);
            largest = std::max(largest, p[j]);
        }
        float sum = 0.0f;
        for (float& v : p) sum += v = std::exp(v - largest);
        for (std::size_t j = 0; j < p.size(); ++j)
            for (std::size_t d = 0; d < dim; ++d) out[at + d] += p[j] / sum * bank.v[key_at(j) + d];
    }
}

void FloatModel::feed_forward(const LayerWeights& w, std::vector<float>& x) {
    const std::vector<float> n = normed(x, w.ffn_norm);
    std::vector<float> gate = project(w.gate, {}, n);
    const std::vector<float> up = project(w.up, {}, n);
    for (std::size_t i = 0; i < gate.size(); ++i)
        gate[i] = static_cast<float>(activated(config_.activation, gate[i])) * up[i];
    add(project(w.down, {}, gate), w.post_ffn_norm, x);
}

}  // namespace hearth::engine
