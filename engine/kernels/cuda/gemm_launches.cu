// The kernels of GemmKernels for devices.
#include "engine/kernels/cuda/launch.h"

namespace hearth::engine::cuda {

void gemm_entries(LaunchEntry* to) {
    entries_into(GemmKernels{}, to);
}

}  // namespace hearth::engine::cuda
