// cuda_matrix.h: weights on the device, and who multiplies by them.
#pragma once

#include <memory>

#include "engine/kernels/cuda/gemm_plan.h"
#include "engine/kernels/cuda/machine.h"
#include "engine/kernels/ops.h"

namespace hearth::engine::cuda {

struct CudaMatrix final : PackedMatrix {
    Matrix view;
    TensorMap tiles;  // Of 64 rows, for the copy engine; where the chip has one.
    bool has_tiles = false;
    std::shared_ptr<std::byte> memory, scales;
};

// Launches the kernel that plan_gemm() names. One owner thread; owns the workspace of products that
// are cut along K.
class Gemms {
  public:
    // Makes what a matrix needs, and grows the workspace to what any product by it may want.
    void prepare(Machine& machine, CudaMatrix& matrix);
    void run(Machine& machine, const QuantRows& x, std::int32_t rows, const CudaMatrix& w,
             const MatmulOut& out);
    // The same with the result as bfloat16, for benchmarks: always a wide tile.
    void run_bfloat16(Machine& machine, const QuantRows& x, std::int32_t rows, const CudaMatrix& w,
                      std::uint16_t* out, std::int32_t stride);
    const Result<void>& failed() const { return failed_; }

  private:
    void reserve(Machine& machine, const GemmPlan& plan);

    Result<void> failed_;
    std::shared_ptr<std::byte> sums_, counts_;
    std::size_t sum_ints_ = 0, count_ints_ = 0;
};

}  // namespace hearth::engine::cuda
