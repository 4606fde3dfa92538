// The transformer step: Llama's layers (Touvron et al. 2023) with KV banks and windows per layer.
#include "engine/kernels/forward.h"

#include <algorithm>
#include <utility>

namespace hearth::engine {
namespace {

// Rows per pass: activation memory does not grow with a prompt.
constexpr std::int32_t kRowsPerPass = 512;

std::vector<float> padded(const std::vector<float>& values, std::int32_t stride) {
    std::vector<float> out = values;
    out.resize(static_cast<std::size_t>(stride));
    return out;
}

Result<void> check_matrix(const QuantMatrix& m, std::int32_t rows, std::int32_t cols,
                          const std::string& name) {
    const auto r = static_cast<std::size_t>(rows), c = static_cast<std::size_t>(cols);
    if (m.rows == rows && m.cols == cols && m.q.size() == r * c && m.scale.size() == r) return {};
    return make_error(ErrorCode::kInvalidArgument, "weights: " + name + " is not [" +
                                                       std::to_string(rows) + ", " +
                                                       std::to_string(cols) + "]");
}

Result<void> check_vector(const std::vector<float>& v, std::int32_t size, const std::string& name) {
    if (v.size() == static_cast<std::size_t>(size)) return {};
    return make_error(ErrorCode::kInvalidArgument,
                      "weights: " + name + " does not have " + std::to_string(size) + " values");
}

Result<void> check_layer(const ModelConfig& c, const LayerWeights& w, bool writes_kv,
                         const std::string& name) {
    const std::int32_t q = c.heads * c.head_dim;
    const std::int32_t kv = writes_kv ? c.kv_heads * c.head_dim : 0;
    const std::int32_t kv_cols = writes_kv ? c.hidden : 0;
    const std::int32_t bias = c.qkv_bias ? 1 : 0;
    const std::int32_t post = c.post_norms ? c.hidden : 0;
    const std::int32_t qk_norm = c.qk_norm ? c.head_dim : 0;
    const Result<void> checks[] = {
        check_vector(w.attention_norm, c.hidden, name + "attention_norm"),
        check_vector(w.ffn_norm, c.hidden, name + "ffn_norm"),
        check_vector(w.post_attention_norm, post, name + "post_attention_norm"),
        check_vector(w.post_ffn_norm, post, name + "post_ffn_norm"),
        check_vector(w.q_norm, qk_norm, name + "q_norm"),
        check_vector(w.k_norm, writes_kv ? qk_norm : 0, name + "k_norm"),
        check_vector(w.bq, bias * q, name + "bq"),
        check_vector(w.bk, bias * kv, name + "bk"),
        check_vector(w.bv, bias * kv, name + "bv"),
        check_matrix(w.wq, q, c.hidden, name + "wq"),
        check_matrix(w.wk, kv, kv_cols, name + "wk"),
        check_matrix(w.wv, kv, kv_cols, name + "wv"),
        check_matrix(w.wo, c.hidden, q, name + "wo"),
        check_matrix(w.gate, c.ffn_hidden, c.hidden, name + "gate"),
        check_matrix(w.up, c.ffn_hidden, c.hidden, name + "up"),
        check_matrix(w.down, c.hidden, c.ffn_hidden, name + "down"),
    };
    for (const Result<void>& check : checks)
        if (!check) return check.error();
    return {};
}

}  // namespace

Result<void> check_shapes(const ModelConfig& config, const Weights& weights) {
    const std::int32_t head_rows = config.tied_embeddings ? 0 : config.vocab_size;
    const std::int32_t head_cols = config.tied_embeddings ? 0 : config.hidden;
    const Result<void> checks[] = {
        check_matrix(weights.embedding, config.vocab_size, config.hidden, "embedding"),
        check_matrix(weights.lm_head, head_rows, head_cols, "lm_head"),
        check_vector(weights.final_norm, config.hidden, "final_norm"),
    };
    for (const Result<void>& check : checks)
        if (!check) return check.error();
    if (weights.layers.size() != config.layers.size())
        return make_error(ErrorCode::kInvalidArgument, "weights: wrong number of layers");
    for (std::size_t i = 0; i < config.layers.size(); ++i) {
        const std::string name = "layer " + std::to_string(i) + " ";
        const Result<void> check =
            check_layer(config, weights.layers[i], config.layers[i].writes_kv, name);
        if (!check) return check.error();
    }
    return {};
}

ForwardEngine::ForwardEngine(Checkpoint&& checkpoint, std::unique_ptr<Backend> backend)
    : config_(std::move(checkpoint.config)),
      kv_(KvLayout::of(config_)),
      backend_(std::move(backend)),
      rope_(config_),
      local_rope_(config_, true),
      int4_(checkpoint.weights.layers.front().wq.int4),
      hidden_stride_(round_up(config_.hidden, kRowFloats)),
      ffn_stride_(round_up(config_.ffn_hidden, kRowFloats)),
      heads_stride_(round_up(config_.heads * config_.head_dim, kRowFloats)) {
    Weights weights = std::move(checkpoint.weights);
    for (std::size_t i = 0; i < weights.layers.size(); ++i) {
        layers_.push_back(pack_layer(weights.layers[i], config_.layers[i]));
        weights.layers[i] = {};
    }
    QuantMatrix* const embedding[] = {&weights.embedding};
    embedding_ = backend_->pack(embedding);
    if (!config_.tied_embeddings) {
        QuantMatrix* const head[] = {&weights.lm_head};
        lm_head_ = backend_->pack(head);
    }
    final_norm_ = backend_->constants(padded(weights.final_norm, hidden_stride_));
}

Result<void> ForwardEngine::prepare() {
    if (backend_->allocates_ahead()) reserve(kRowsPerPass);
    return backend_->prepare(config_, kRowsPerPass);
}

// Softmax does not see what is added to all scores of a query alike, so one fixed vector may be
// taken off every key of a head before it becomes int8. Pages hold rotated keys: of a bias in K
// only what RoPE turns slowly is the same at all positions, and that is the mean of the rotated
// bias over the context. (Taking it off before RoPE would change scores: it turns with the
// position.) A soft cap sees the shift, and a norm of heads takes a bias' size away; there nothing
// is folded.
std::vector<float> ForwardEngine::key_shift(const LayerWeights& weights,
                                            const LayerShape& shape) const {
    std::vector<float> out;
    if (weights.bk.empty() || config_.attention_softcap > 0.0f || config_.qk_norm) return out;
    const RopeTable& rope = shape.local_rope ? local_rope_ : rope_;
    for (std::int32_t h = 0; h < config_.kv_heads; ++h) {
        const auto mean = rope.mean_rotation(weights.bk.data() + h * config_.head_dim, config_);
        out.insert(out.end(), mean.begin(), mean.end());
    }
    return out;
}

ForwardEngine::Layer ForwardEngine::pack_layer(LayerWeights& weights, const LayerShape& shape) {
    Layer layer;
    layer.key_shift = backend_->constants(key_shift(weights, shape));
    layer.q_norm = backend_->constants(weights.q_norm);
    layer.k_norm = backend_->constants(weights.k_norm);
    if (config_.post_norms) {
        layer.post_attention_norm =
            backend_->constants(padded(weights.post_attention_norm, hidden_stride_));
        layer.post_ffn_norm = backend_->constants(padded(weights.post_ffn_norm, hidden_stride_));
    }
    layer.attention_norm = backend_->constants(padded(weights.attention_norm, hidden_stride_));
    layer.ffn_norm = backend_->constants(padded(weights.ffn_norm, hidden_stride_));
    std::vector<QuantMatrix*> qkv = {&weights.wq};
    const bool writes_kv = weights.wk.rows > 0;
    if (writes_kv) qkv.insert(qkv.end(), {&weights.wk, &weights.wv});
    if (config_.qkv_bias) layer.qkv_bias = backend_->constants(stacked_bias(weights));
    QuantMatrix* const wo[] = {&weights.wo};
    QuantMatrix* const gate_up[] = {&weights.gate, &weights.up};
    QuantMatrix* const down[] = {&weights.down};
    layer.qkv = backend_->pack(qkv);
    layer.wo = backend_->pack(wo);
    layer.gate_up = backend_->pack(gate_up);
    layer.down = backend_->pack(down);
    return layer;
}

// Biases of Q, K and V as their rows are stacked, each part padded.
std::vector<float> ForwardEngine::stacked_bias(const LayerWeights& weights) const {
    std::vector<float> out = padded(weights.bq, heads_stride_);
    for (const std::vector<float>* bias : {&weights.bk, &weights.bv}) {
        out.insert(out.end(), bias->begin(), bias->end());
        const auto size = static_cast<std::int32_t>(out.size());
        out.resize(static_cast<std::size_t>(round_up(size, kRowFloats)));
    }
    return out;
}

// Cuts the batch into passes; how it is cut cannot be seen in the results.
void ForwardEngine::step(std::span<const Slice> batch, std::span<float> logits) {
    float* out = logits.data();
    const auto vocab = static_cast<std::size_t>(config_.vocab_size);
    const auto flush = [&] {
        const std::size_t wanted = backend_->keeps_logits() ? 0 : pass_.logit_rows.size() * vocab;
        CHECK(wanted <= static_cast<std::size_t>(logits.data() + logits.size() - out));
        if (!pass_.tokens.empty()) run_pass(out);
        out += wanted;
        pass_ = {};
        pages_ = 0;
    };
    for (const Slice& slice : batch) {
        const auto count = static_cast<std::int32_t>(slice.tokens.size());
        CHECK(slice.start >= 0 && slice.start + count <= config_.context_length);
        CHECK((slice.start + count + kPageTokens - 1) / kPageTokens <=
              static_cast<std::int32_t>(slice.pages.size()));
        rope_.grow(slice.start + count);
        if (config_.local_rope_theta > 0.0f) local_rope_.grow(slice.start + count);
        const std::int64_t pages = (slice.start + count + kPageTokens - 1) / kPageTokens;
        CHECK(pages <= backend_->pages_per_pass());
        if (pages_ + pages > backend_->pages_per_pass()) flush();
        for (std::int32_t from = 0; from < count;) {
            const std::int32_t take = std::min(count - from, kRowsPerPass - rows());
            add_to_pass(slice, from, take);
            from += take;
            pages_ += pages;
            if (rows() == kRowsPerPass) flush();
        }
    }
    flush();
}

void ForwardEngine::add_to_pass(const Slice& slice, std::int32_t from, std::int32_t count) {
    pass_.runs.push_back({.first_row = rows(),
                          .rows = count,
                          .start = slice.start + from,
                          .pages = slice.pages.data()});
    const auto all = static_cast<std::int32_t>(slice.tokens.size());
    for (std::int32_t i = from; i < from + count; ++i) {
        const bool last = i + 1 == all;
        if (slice.logits == Slice::Logits::kAll || (slice.logits == Slice::Logits::kLast && last))
            pass_.logit_rows.push_back(rows());
        const TokenId token = slice.tokens[static_cast<std::size_t>(i)];
        CHECK(token >= 0 && token < config_.vocab_size);
        pass_.tokens.push_back(token);
    }
}

void ForwardEngine::reserve(std::int32_t rows) {
    const auto n = static_cast<std::size_t>(rows);
    const std::int32_t kv = round_up(config_.kv_heads * config_.head_dim, kRowFloats);
    const std::int32_t wide = std::max({heads_stride_ + 2 * kv, 2 * ffn_stride_, hidden_stride_});
    const std::int32_t input = std::max({hidden_stride_, ffn_stride_, heads_stride_});
    const auto heads = n * static_cast<std::size_t>(config_.heads);
    x_.reserve(*backend_, n * static_cast<std::size_t>(hidden_stride_));
    wide_.reserve(*backend_, n * static_cast<std::size_t>(wide));
    mixed_.reserve(*backend_, n * static_cast<std::size_t>(heads_stride_));
    q_.reserve(*backend_, n * static_cast<std::size_t>(round_up(input, kRowBytes)));
    q_scale_.reserve(*backend_, n);
    q_sum_.reserve(*backend_, n);
    query_.reserve(*backend_, heads * static_cast<std::size_t>(config_.head_dim));
    query_scale_.reserve(*backend_, heads);
    query_sum_.reserve(*backend_, heads);
}

QuantRows ForwardEngine::quant_rows(std::int32_t cols, bool rotated) {
    return {q_.data(), q_scale_.data(), q_sum_.data(), round_up(cols, kRowBytes), rotated};
}

void ForwardEngine::run_pass(float* logits) {
    reserve(rows());
    shape_ = backend_->begin_pass({pass_.runs, pass_.tokens, pass_.logit_rows});
    if (!shape_.done) {
        reserve(shape_.rows);
        backend_->embed(*embedding_, pass_.tokens, x_.data(), hidden_stride_);
        for (std::size_t i = 0; i < layers_.size(); ++i) {
            attention(layers_[i], config_.layers[i]);
            feed_forward(layers_[i]);
        }
        if (shape_.logit_rows > 0) output(backend_->logits_of_pass(logits));
    }
    backend_->end_pass(logits);
}

// x += Wo attend(rope(Wq n), rope(Wk n), Wv n) with n = norm(x).
void ForwardEngine::attention(const Layer& layer, const LayerShape& shape) {
    const AttentionCall call = {.kv = kv_,
                                .heads = config_.heads,
                                .kv_bank = shape.kv_bank,
                                .window = shape.window,
                                .writes_kv = shape.writes_kv,
                                .runs = pass_.runs,
                                .score_scale = config_.score_scale(),
                                .softcap = config_.attention_softcap,
                                .key_shift = layer.key_shift.get()};
    const QuantRows in = layer_input(config_.hidden);
    backend_->norm_quantize(
        {layer.attention_norm.get(), config_.hidden, hidden_stride_, config_.norm_eps}, x_.data(),
        shape_.rows, in);
    const std::int32_t qkv_stride = layer.qkv->rows;
    backend_->matmul(in, shape_.rows, *layer.qkv,
                     {wide_.data(), qkv_stride, qkv_stride, layer.qkv_bias.get(), false});
    if (config_.qk_norm) norm_heads(layer, shape, qkv_stride);

    const RopeTable& rope = shape.local_rope ? local_rope_ : rope_;
    const QuantHeads query = {query_.data(), query_scale_.data(), query_sum_.data()};
    backend_->rope_quantize(call, rope, wide_.data(), qkv_stride, query);
    backend_->attend(call, query, mixed_.data(), heads_stride_);

    const QuantRows mixed = layer_input(config_.heads * config_.head_dim);
    backend_->quantize(mixed_.data(), heads_stride_, shape_.rows, mixed);
    add_to_stream(mixed, *layer.wo, layer.post_attention_norm);
}

void ForwardEngine::norm_heads(const Layer& layer, const LayerShape& shape,
                               std::int32_t qkv_stride) {
    const Backend::Norm q = {layer.q_norm.get(), config_.head_dim, qkv_stride, config_.norm_eps};
    backend_->norm_heads(q, config_.heads, wide_.data(), shape_.rows);
    if (!shape.writes_kv) return;
    const Backend::Norm k = {layer.k_norm.get(), config_.head_dim, qkv_stride, config_.norm_eps};
    backend_->norm_heads(k, config_.kv_heads, wide_.data() + heads_stride_, shape_.rows);
}

// x += w in, or x += norm(w in) where the family has such norms.
void ForwardEngine::add_to_stream(const QuantRows& in, const PackedMatrix& w,
                                  const Constants& norm) {
    if (norm == nullptr) {
        return backend_->matmul(in, shape_.rows, w,
                                {x_.data(), hidden_stride_, hidden_stride_, nullptr, true});
    }
    backend_->matmul(in, shape_.rows, w,
                     {wide_.data(), hidden_stride_, hidden_stride_, nullptr, false});
    backend_->norm_add({norm.get(), config_.hidden, hidden_stride_, config_.norm_eps}, wide_.data(),
                       shape_.rows, x_.data());
}

// x += Wdown (f(Wgate n) * Wup n) with n = norm(x) and f = silu or gelu.
void ForwardEngine::feed_forward(const Layer& layer) {
    const QuantRows in = layer_input(config_.hidden);
    backend_->norm_quantize(
        {layer.ffn_norm.get(), config_.hidden, hidden_stride_, config_.norm_eps}, x_.data(),
        shape_.rows, in);
    const std::int32_t wide = layer.gate_up->rows;
    backend_->matmul(in, shape_.rows, *layer.gate_up, {wide_.data(), wide, wide, nullptr, false});
    const QuantRows gated = layer_input(config_.ffn_hidden);
    if (config_.activation == Activation::kGelu) {
        backend_->geglu_quantize(wide_.data(), ffn_stride_, shape_.rows, gated);
    } else {
        backend_->swiglu_quantize(wide_.data(), ffn_stride_, shape_.rows, gated);
    }
    add_to_stream(gated, *layer.down, layer.post_ffn_norm);
}

// Logits of the rows that want them, gathered first. `wide_` is free then, and wide enough.
void ForwardEngine::output(float* logits) {
    const std::int32_t count = shape_.logit_rows;
    backend_->gather_rows(x_.data(), pass_.logit_rows, hidden_stride_, wide_.data());
    const QuantRows in = quant_rows(config_.hidden, true);
    backend_->norm_quantize({final_norm_.get(), config_.hidden, hidden_stride_, config_.norm_eps},
                            wide_.data(), count, in);
    const PackedMatrix& head = config_.tied_embeddings ? *embedding_ : *lm_head_;
    backend_->matmul(in, count, head,
                     {logits, config_.vocab_size, config_.vocab_size, nullptr, false});
    if (config_.logit_softcap > 0.0f)
        backend_->soft_cap(config_.logit_softcap, logits, config_.vocab_size, count);
}

}  // namespace hearth::engine
