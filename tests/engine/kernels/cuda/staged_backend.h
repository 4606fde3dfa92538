// StagedBackend: a CudaBackend for callers whose rows, pages and results lie in plain host memory:
// every op copies in, runs and copies out. That is how the one table of op cases runs on a device.
#pragma once

#include <map>
#include <memory>
#include <vector>

#include "engine/kernels/cuda/cuda_backend.h"

namespace hearth::engine::testing {

class StagedBackend final : public Backend {
  public:
    explicit StagedBackend(std::unique_ptr<cuda::Machine> machine)
        : inner_(std::move(machine), {.graphs = false, .page_bytes_max = 16u << 20}) {}

    std::string name() const override { return "staged " + inner_.name(); }
    cuda::CudaBackend& inner() { return inner_; }
    std::unique_ptr<PackedMatrix> pack(std::span<QuantMatrix* const> parts) override;
    void embed(const PackedMatrix& table, std::span<const TokenId> tokens, float* out,
               std::int32_t stride) override;
    void norm_quantize(const Norm& norm, const float* x, std::int32_t rows, QuantRows out) override;
    void quantize(const float* x, std::int32_t stride, std::int32_t rows, QuantRows out) override;
    void norm_add(const Norm& norm, const float* y, std::int32_t rows, float* x) override;
    void norm_heads(const Norm& norm, std::int32_t heads, float* x, std::int32_t rows) override;
    void soft_cap(float cap, float* x, std::int32_t width, std::int32_t rows) override;
    void geglu_quantize(float* gate_up, std::int32_t stride, std::int32_t rows,
                        QuantRows out) override;
    void swiglu_quantize(float* gate_up, std::int32_t stride, std::int32_t rows,
                         QuantRows out) override;
    void matmul(const QuantRows& x, std::int32_t rows, const PackedMatrix& w,
                const MatmulOut& out) override;
    void rope_quantize(const AttentionCall& call, const RopeTable& rope, float* qkv,
                       std::int32_t stride, QuantHeads q) override;
    void attend(const AttentionCall& call, const QuantHeads& q, float* out,
                std::int32_t stride) override;

  private:
    // Device copies of host arrays for one op; what was given as inout goes back in the end.
    class Stage;
    struct StagedPages;
    void prepare_for(const AttentionCall& call);

    cuda::CudaBackend inner_;
    AttentionCall prepared_ = {};
    std::map<std::byte*, std::shared_ptr<std::byte>> pages_;  // Pinned copies.
};

}  // namespace hearth::engine::testing
