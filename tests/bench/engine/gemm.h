// gemm: the model's matrix products alone, without all else that a step does.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <vector>

#include "engine/engine.h"
#include "engine/kernels/aligned.h"
#include "engine/kernels/ops.h"
#include "tests/bench/engine/probes.h"

namespace hearth::engine::bench {

// Random matrices of the layers' shapes, as many as it takes that they come from memory.
class GemmBench {
  public:
    GemmBench(const ModelConfig& config, const EngineOptions& options);

    // Multiply-adds per second of the four products of each layer, `rows` tokens at a time; the
    // best of `rounds`, with a measurement of `probes` before each.
    double products_per_s(std::int32_t rows, int rounds, Probes& probes);

  private:
    void add(std::vector<std::pair<std::int32_t, std::int32_t>> parts, bool int4);

    std::unique_ptr<Backend> backend_;
    std::vector<std::unique_ptr<PackedMatrix>> matrices_;
    bool rotated_;
    std::int32_t widest_in_ = 0, widest_out_ = 0;
};

}  // namespace hearth::engine::bench
