// The op cases on the CUDA backend: its kernels' bodies by loops, always; on a device, where one
// is.
#include <gtest/gtest.h>

#include "engine/kernels/cpu/cpu_backend.h"
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

// Only attention sums and exponentiates in an order of its own.
void expect_bits_of_cpu(const std::function<std::unique_ptr<cuda::Machine>()>& machine) {
    auto cpu = make_cpu_backend("generic", 1);
    ASSERT_TRUE(cpu.ok()) << cpu.error().message;
    int compared = 0;
    for (const OpCase& op : op_cases()) {
        if (op.name.rfind("attention", 0) == 0) continue;
        SCOPED_TRACE(op.name);
        StagedBackend staged(machine());
        EXPECT_TRUE(same_bits(op.run(staged), op.run(**cpu)));
        ++compared;
    }
    EXPECT_GT(compared, 20);
}

TEST(CudaOps, AllButAttentionHasTheBitsOfTheCpu) {
    expect_bits_of_cpu([] { return std::make_unique<cuda::EmulatedMachine>(); });
}

TEST(CudaOps, DeviceAgreesWithRef) {
    if (const auto device = cuda::make_cuda_machine(); !device)
        GTEST_SKIP() << "skipped: no CUDA device (" << device.error().message << ")";
    const auto machine = [] { return std::move(cuda::make_cuda_machine()).value(); };
    run_all(machine);
    expect_bits_of_cpu(machine);
}

}  // namespace
}  // namespace hearth::engine::testing
