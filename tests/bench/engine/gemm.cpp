// gemm: packs the matrices, multiplies zeros with them (speed does not depend on values).
#include "tests/bench/engine/gemm.h"

#include <limits>
#include <utility>

#include "common/base/check.h"
#include "common/base/rng.h"
#include "engine/kernels/cpu/cpu_backend.h"
#include "tests/bench/engine/random_shapes.h"

namespace hearth::engine::bench {
namespace {

constexpr double kWeightsMin = 96e6;  // Bytes; more than caches keep.

}  // namespace

GemmBench::GemmBench(const ModelConfig& c, const EngineOptions& options)
    : rotated_(options.weights != "int4") {
    auto backend = make_cpu_backend(options.isa, options.threads);
    CHECK(static_cast<bool>(backend));
    backend_ = std::move(*backend);
    const std::int32_t q = c.heads * c.head_dim, kv = c.kv_heads * c.head_dim;
    for (double bytes = 0; bytes < kWeightsMin;) {
        add({{q, c.hidden}, {kv, c.hidden}, {kv, c.hidden}}, !rotated_);
        add({{c.hidden, q}}, !rotated_);
        add({{c.ffn_hidden, c.hidden}, {c.ffn_hidden, c.hidden}}, !rotated_);
        add({{c.hidden, c.ffn_hidden}}, !rotated_);
        bytes += 1.0 * c.hidden * (2.0 * q + 2.0 * kv + 3.0 * c.ffn_hidden);
    }
}

void GemmBench::add(std::vector<std::pair<std::int32_t, std::int32_t>> parts, bool int4) {
    Rng rng(matrices_.size() + 1);
    std::vector<QuantMatrix> owned;
    for (const auto& [rows, cols] : parts) {
        owned.push_back(random_matrix(rng, rows, cols));
        owned.back().int4 = int4;
    }
    std::vector<QuantMatrix*> pointers;
    for (QuantMatrix& m : owned) pointers.push_back(&m);
    matrices_.push_back(backend_->pack(pointers));
    widest_in_ = std::max(widest_in_, round_up(matrices_.back()->cols, kRowBytes));
    widest_out_ = std::max(widest_out_, matrices_.back()->rows);
}

double GemmBench::products_per_s(std::int32_t rows, int rounds, Probes& probes) {
    const auto n = static_cast<std::size_t>(rows);
    AlignedBuffer<std::int8_t> q;
    AlignedBuffer<float> scale, out;
    AlignedBuffer<std::int32_t> sum;
    q.resize(n * static_cast<std::size_t>(widest_in_));
    scale.resize(n);
    sum.resize(n);
    out.resize(n * static_cast<std::size_t>(widest_out_));
    double products = 0.0;
    for (const auto& m : matrices_) products += 1.0 * m->rows * m->cols * rows;
    double best = std::numeric_limits<double>::infinity();
    for (int round = 0; round < rounds; ++round) {
        probes.measure();
        best = std::min(
            best, seconds_of([&] {
                for (const auto& m : matrices_) {
                    const QuantRows x = {q.data(), scale.data(), sum.data(),
                                         round_up(m->cols, kRowBytes), rotated_};
                    backend_->matmul(x, rows, *m, {out.data(), m->rows, m->rows, nullptr, false});
                }
            }));
    }
    return products / best;
}

}  // namespace hearth::engine::bench
