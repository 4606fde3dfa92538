// The op cases on the CUDA backend: its kernels' bodies by loops, always; on a device, where one
// is.
#include <gtest/gtest.h>

#include "engine/kernels/ref/ref_backend.h"
#include "tests/engine/kernels/cuda/emulated_machine.h"
#include "tests/engine/kernels/cuda/staged_backend.h"
#include "tests/engine/kernels/op_cases.h"

namespace hearth::engine::testing {
namespace {

void run_all(const std::function<std::unique_ptr<cuda::Machine>()>& machine) {
    const auto ref = make_ref_backend();
    for (const OpCase& op : op_cases()) {
        SCOPED_TRACE(op.name);
        StagedBackend staged(machine());
        expect_near(op.run(staged), op.run(*ref), op);
    }
}

TEST(CudaOps, BodiesAgreeWithRef) {
    run_all([] { return std::make_unique<cuda::EmulatedMachine>(); });
}

TEST(CudaOps, BodiesOfHopperAgreeWithRef) {
    run_all([] {
        return std::make_unique<cuda::EmulatedMachine>(
            cuda::EmulatedOptions{.major = 9, .temper = {.backwards = true, .late = true}});
    });
}

TEST(CudaOps, DeviceAgreesWithRef) {
    if (const auto machine = cuda::make_cuda_machine(); !machine)
        GTEST_SKIP() << "skipped: no CUDA device (" << machine.error().message << ")";
    run_all([] { return std::move(cuda::make_cuda_machine()).value(); });
}

}  // namespace
}  // namespace hearth::engine::testing
