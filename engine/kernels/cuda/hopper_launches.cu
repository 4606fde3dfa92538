// The kernels of HopperKernels for devices.
#include "engine/kernels/cuda/launch.h"

namespace hearth::engine::cuda {

void hopper_entries(LaunchEntry* to) {
    entries_into(HopperKernels{}, to);
}

}  // namespace hearth::engine::cuda
