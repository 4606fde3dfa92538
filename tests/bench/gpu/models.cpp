// models: speed does not depend on values, but on their not being zeros.
#include "tests/bench/gpu/models.h"

#include <cmath>
#include <cstring>
#include <thread>

#include "common/base/check.h"

namespace hearth::engine::bench {
namespace {

QuantMatrix random_bytes(Rng& rng, std::int32_t rows, std::int32_t cols) {
    QuantMatrix m;
    m.rows = rows;
    m.cols = cols;
    m.q.resize(static_cast<std::size_t>(rows) * static_cast<std::size_t>(cols));
    for (std::size_t i = 0; i < m.q.size(); i += sizeof(std::uint64_t)) {
        const std::uint64_t word = rng.next() & 0x7f7f7f7f7f7f7f7fu;  // Below -127 is nothing.
        const std::uint64_t signs = word ^ 0x4040404040404040u;
        std::memcpy(m.q.data() + i, &signs, std::min(sizeof signs, m.q.size() - i));
    }
    for (std::int8_t& q : m.q) q = static_cast<std::int8_t>(q - 64);
    m.scale.assign(static_cast<std::size_t>(rows), 0.027f / std::sqrt(static_cast<float>(cols)));
    return m;
}

}  // namespace

ModelConfig config_of(const ModelShape& shape) {
    ModelConfig c;
    c.name = "random";
    c.vocab_size = shape.vocab;
    c.hidden = shape.hidden;
    c.ffn_hidden = shape.ffn;
    c.heads = shape.heads;
    c.kv_heads = shape.kv_heads;
    c.head_dim = c.rope_dim = shape.head_dim;
    c.context_length = shape.context;
    c.kv_banks = shape.layers;
    for (std::int32_t i = 0; i < shape.layers; ++i) c.layers.push_back({.kv_bank = i});
    return c;
}

Checkpoint random_llama(const ModelShape& s, std::uint64_t seed) {
    Rng rng(seed);
    Checkpoint out;
    out.config = config_of(s);
    const std::int32_t q = s.heads * s.head_dim, kv = s.kv_heads * s.head_dim;
    const std::vector<float> gains(static_cast<std::size_t>(s.hidden), 1.0f);
    for (std::int32_t i = 0; i < s.layers; ++i) {
        LayerWeights layer;
        layer.attention_norm = layer.ffn_norm = gains;
        layer.wq = random_bytes(rng, q, s.hidden);
        layer.wk = random_bytes(rng, kv, s.hidden);
        layer.wv = random_bytes(rng, kv, s.hidden);
        layer.wo = random_bytes(rng, s.hidden, q);
        layer.gate = random_bytes(rng, s.ffn, s.hidden);
        layer.up = random_bytes(rng, s.ffn, s.hidden);
        layer.down = random_bytes(rng, s.hidden, s.ffn);
        out.weights.layers.push_back(std::move(layer));
    }
    out.weights.embedding = random_bytes(rng, s.vocab, s.hidden);
    out.weights.lm_head = random_bytes(rng, s.vocab, s.hidden);
    out.weights.final_norm = gains;
    return out;
}

HostPages::HostPages(cuda::Machine& machine, const KvLayout& kv, std::int32_t pages) {
    const std::size_t bytes = kv.page_bytes();
    auto made = machine.allocate_pinned(bytes * static_cast<std::size_t>(pages));
    CHECK_MSG(made.ok(), made.ok() ? "" : made.error().message);
    memory_ = std::move(made).value();
    Rng rng(1);
    std::vector<std::byte> one(bytes);
    for (std::byte& b : one) b = static_cast<std::byte>(rng.below(255) - 127);
    const std::vector<float> scales(2 * kPageTokens, 0.01f);
    for (std::int32_t bank = 0; bank < kv.banks; ++bank)
        for (std::int32_t head = 0; head < kv.kv_heads; ++head)
            std::memcpy(one.data() + kv.k_scale_offset(bank, head), scales.data(),
                        scales.size() * sizeof(float));
    for (std::int32_t i = 0; i < pages; ++i) {
        pointers_.push_back(memory_.get() + static_cast<std::size_t>(i) * bytes);
        std::memcpy(pointers_.back(), one.data(), bytes);
    }
}

GpuEngine::GpuEngine(std::unique_ptr<cuda::Machine> machine, Checkpoint&& checkpoint,
                     const cuda::CudaOptions& options) {
    cuda::CudaOptions with_threads = options;
    with_threads.threads =
        std::max(1, static_cast<std::int32_t>(std::thread::hardware_concurrency()));
    auto made = std::make_unique<cuda::CudaBackend>(std::move(machine), with_threads);
    backend = made.get();
    engine = std::make_unique<ForwardEngine>(std::move(checkpoint), std::move(made));
    const Result<void> ready = engine->prepare();
    CHECK_MSG(ready.ok(), ready.ok() ? "" : ready.error().message);
}

}  // namespace hearth::engine::bench
