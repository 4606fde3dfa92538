// amx_model_kernels: see the .cpp.
#pragma once

namespace hearth::engine::cpu {
struct CpuKernels;
}

namespace hearth::engine::testing {

const cpu::CpuKernels& amx_model_kernels();

}  // namespace hearth::engine::testing
