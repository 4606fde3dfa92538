// random_shapes: the shapes, and random int8 weights for them.
#include "tests/bench/engine/random_shapes.h"

#include <utility>

namespace hearth::engine::bench {
namespace {

struct Shape {
    const char* name;
    const char* title;
    std::int32_t layers, hidden, ffn, heads, kv_heads, vocab;
    bool tied;
};
constexpr Shape kShapes[] = {
    {"135m", "random, shape of SmolLM2-135M", 30, 576, 1536, 9, 3, 49152, true},
    {"1.1b", "random, shape of TinyLlama-1.1B", 22, 2048, 5632, 32, 4, 32000, false},
    {"tiny", "random, tiny", 2, 128, 256, 2, 1, 512, true},
};
constexpr std::int32_t kHeadDim = 64;

LayerWeights random_layer(Rng& rng, const Shape& shape) {
    const std::int32_t q = shape.heads * kHeadDim, kv = shape.kv_heads * kHeadDim;
    LayerWeights w;
    w.attention_norm.assign(static_cast<std::size_t>(shape.hidden), 1.0f);
    w.ffn_norm = w.attention_norm;
    w.wq = random_matrix(rng, q, shape.hidden);
    w.wk = random_matrix(rng, kv, shape.hidden);
    w.wv = random_matrix(rng, kv, shape.hidden);
    w.wo = random_matrix(rng, shape.hidden, q);
    w.gate = random_matrix(rng, shape.ffn, shape.hidden);
    w.up = random_matrix(rng, shape.ffn, shape.hidden);
    w.down = random_matrix(rng, shape.hidden, shape.ffn);
    return w;
}

Checkpoint checkpoint_of(const Shape& shape) {
    Checkpoint out;
    ModelConfig& c = out.config;
    c.name = shape.title;
    c.vocab_size = shape.vocab;
    c.hidden = shape.hidden;
    c.ffn_hidden = shape.ffn;
    c.heads = shape.heads;
    c.kv_heads = shape.kv_heads;
    c.head_dim = c.rope_dim = kHeadDim;
    c.context_length = 8192;
    c.tied_embeddings = shape.tied;
    Rng rng(1);
    for (std::int32_t i = 0; i < shape.layers; ++i) {
        c.layers.push_back({.kv_bank = c.kv_banks++});
        out.weights.layers.push_back(random_layer(rng, shape));
    }
    out.weights.embedding = random_matrix(rng, shape.vocab, shape.hidden);
    if (!shape.tied) out.weights.lm_head = random_matrix(rng, shape.vocab, shape.hidden);
    out.weights.final_norm.assign(static_cast<std::size_t>(shape.hidden), 1.0f);
    return out;
}

}  // namespace

QuantMatrix random_matrix(Rng& rng, std::int32_t rows, std::int32_t cols) {
    QuantMatrix m;
    m.rows = rows;
    m.cols = cols;
    m.scale.assign(static_cast<std::size_t>(rows), 1e-3f);
    m.q.resize(static_cast<std::size_t>(rows) * static_cast<std::size_t>(cols));
    std::uint64_t bits = 0;
    for (std::size_t i = 0; i < m.q.size(); ++i, bits >>= 8) {
        if (i % 8 == 0) bits = rng.next();
        const auto q = static_cast<std::int8_t>(bits & 0xff);
        m.q[i] = q == -128 ? std::int8_t{0} : q;
    }
    return m;
}

Result<Checkpoint> random_shape(const std::string& name) {
    for (const Shape& shape : kShapes)
        if (name == shape.name) return checkpoint_of(shape);
    return make_error(ErrorCode::kNotFound, "no random model is called '" + name + "'");
}

}  // namespace hearth::engine::bench
