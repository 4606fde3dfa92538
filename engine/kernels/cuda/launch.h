// launch.h: kernels of kernel_list.h as CUDA kernels. Included by .cu files only, which share the
// work of compiling them.
#pragma once

#include "engine/kernels/cuda/device_block.h"
#include "engine/kernels/cuda/hopper_block.h"
#include "engine/kernels/cuda/kernel_list.h"

namespace hearth::engine::cuda {

template <class K>
__global__ void __launch_bounds__(K::kThreads, 1) run_kernel(const __grid_constant__ K kernel) {
    extern __shared__ __align__(1024) std::byte shared[];
    const int x = static_cast<int>(blockIdx.x), y = static_cast<int>(blockIdx.y);
    const int z = static_cast<int>(blockIdx.z);
    if constexpr (OnlyHopper<K>) {
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
        HopperBlock<K::kThreads, K::kConsumers> block{{shared, x, y, z}};
        kernel.run(block);
#else
        __trap();  // plan_gemm() never chooses it for another chip.
#endif
    } else {
        DeviceBlock<K::kThreads> block{shared, x, y, z};
        kernel.run(block);
    }
}

// How to run one kernel of the list.
struct LaunchEntry {
    const void* function;
    int threads;
};

template <class... K>
constexpr void entries_into(KernelList<K...>, LaunchEntry* to) {
    ((*to++ = {reinterpret_cast<const void*>(&run_kernel<K>), K::kThreads}), ...);
}

// Entries of each list, in its order; each is written in the .cu file that compiles those kernels.
void row_entries(LaunchEntry* to);
void gemm_entries(LaunchEntry* to);
void attend_entries(LaunchEntry* to);
void hopper_entries(LaunchEntry* to);

}  // namespace hearth::engine::cuda
