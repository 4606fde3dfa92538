// The kernels of AttendKernels for devices.
#include "engine/kernels/cuda/launch.h"

namespace hearth::engine::cuda {

void attend_entries(LaunchEntry* to) {
    entries_into(AttendKernels{}, to);
}

}  // namespace hearth::engine::cuda
