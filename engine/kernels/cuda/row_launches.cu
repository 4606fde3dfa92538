// The kernels of RowKernels for devices.
#include "engine/kernels/cuda/launch.h"

namespace hearth::engine::cuda {

void row_entries(LaunchEntry* to) {
    entries_into(RowKernels{}, to);
}

}  // namespace hearth::engine::cuda
