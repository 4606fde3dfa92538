// make_cuda_machine() of builds without CUDA.
#include "engine/kernels/cuda/machine.h"

#if !defined(HEARTH_HAVE_CUDA)

namespace hearth::engine::cuda {

Result<std::unique_ptr<Machine>> make_cuda_machine() {
    return make_error(ErrorCode::kUnsupported, "this build has no CUDA");
}

}  // namespace hearth::engine::cuda

#endif
