// models.h: random models, pages and rows for the GPU benchmarks.
#pragma once

#include <vector>

#include "common/base/rng.h"
#include "engine/kernels/cuda/cuda_backend.h"
#include "engine/kernels/forward.h"

namespace hearth::engine::bench {

struct ModelShape {
    std::int32_t layers, hidden, ffn, heads, kv_heads, head_dim, vocab, context;
};

// Llama's layers with random int8 weights.
Checkpoint random_llama(const ModelShape& shape, std::uint64_t seed);
ModelConfig config_of(const ModelShape& shape);

// Pinned pages with random keys and values in them, as a host tier holds them.
class HostPages {
  public:
    HostPages(cuda::Machine& machine, const KvLayout& kv, std::int32_t pages);
    // Pages [first, first + count).
    std::span<std::byte* const> span(std::int32_t first, std::int32_t count) const {
        return std::span(pointers_).subspan(static_cast<std::size_t>(first),
                                            static_cast<std::size_t>(count));
    }
    std::int32_t count() const { return static_cast<std::int32_t>(pointers_.size()); }

  private:
    std::shared_ptr<std::byte> memory_;
    std::vector<std::byte*> pointers_;
};

inline std::int32_t pages_for(std::int32_t tokens) {
    return (tokens + kPageTokens - 1) / kPageTokens;
}

// An engine on a machine, and the backend behind it.
struct GpuEngine {
    GpuEngine(std::unique_ptr<cuda::Machine> machine, Checkpoint&& checkpoint,
              const cuda::CudaOptions& options);
    cuda::CudaBackend* backend;
    std::unique_ptr<ForwardEngine> engine;
};

}  // namespace hearth::engine::bench
