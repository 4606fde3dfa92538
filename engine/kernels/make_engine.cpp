// make_engine: chooses the backend that the options name, or the best one of this machine.
#include <algorithm>
#include <thread>
#include <utility>

#include "engine/engine.h"
#include "engine/kernels/cpu/cpu_backend.h"
#include "engine/kernels/cuda/device.h"
#include "engine/kernels/forward.h"
#include "engine/kernels/ref/ref_backend.h"

namespace hearth::engine {
namespace {

// The forward pass does not run on CUDA yet; says so, or what is missing before that.
Error no_cuda() {
#if defined(HEARTH_HAVE_CUDA)
    const Result<cuda::Device> device = cuda::probe_device();
    if (!device) {
        return make_error(ErrorCode::kUnsupported,
                          "engine backend cuda: no device: " + device.error().message);
    }
    return make_error(ErrorCode::kUnsupported,
                      "engine backend cuda is not complete yet (device: " + device->name + ")");
#else
    return make_error(ErrorCode::kUnsupported, "engine backend cuda: this build has no CUDA");
#endif
}

Result<std::unique_ptr<Backend>> make_backend(const EngineOptions& options) {
    const auto cores = static_cast<std::int32_t>(std::thread::hardware_concurrency());
    const std::int32_t threads = options.threads > 0 ? options.threads : std::max(1, cores);
    if (options.backend == "ref") return make_ref_backend();
    if (options.backend == "cpu" || options.backend == "auto")
        return make_cpu_backend(options.isa, threads);
    if (options.backend == "cuda") return no_cuda();
    return make_error(ErrorCode::kInvalidArgument,
                      "engine backend '" + options.backend + "': must be auto, ref, cpu or cuda");
}

}  // namespace

Result<std::unique_ptr<Engine>> make_engine(Checkpoint&& checkpoint, const EngineOptions& options) {
    if (Result<void> valid = validate(checkpoint.config); !valid) return valid.error();
    if (Result<void> shapes = check_shapes(checkpoint.config, checkpoint.weights); !shapes)
        return shapes.error();
    if (options.weights != "int8" && options.weights != "int4")
        return make_error(ErrorCode::kInvalidArgument,
                          "engine weights '" + options.weights + "': must be int8 or int4");
    Result<std::unique_ptr<Backend>> backend = make_backend(options);
    if (!backend) return backend.error();
    for (LayerWeights& w : checkpoint.weights.layers)
        for (QuantMatrix* m : {&w.wq, &w.wk, &w.wv, &w.wo, &w.gate, &w.up, &w.down})
            m->int4 = options.weights == "int4";
    return std::unique_ptr<Engine>(
        std::make_unique<ForwardEngine>(std::move(checkpoint), std::move(backend).value()));
}

}  // namespace hearth::engine
