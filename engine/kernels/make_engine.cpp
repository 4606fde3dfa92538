// make_engine: chooses the backend that the options name, or the best one of this machine.
#include <utility>

#include "common/base/log.h"
#include "common/base/machine.h"
#include "engine/engine.h"
#include "engine/kernels/cpu/cpu_backend.h"
#include "engine/kernels/cuda/cuda_backend.h"
#include "engine/kernels/forward.h"
#include "engine/kernels/ref/ref_backend.h"

namespace hearth::engine {
namespace {

Result<std::unique_ptr<Backend>> make_cuda_backend(std::int32_t threads) {
    Result<std::unique_ptr<cuda::Machine>> machine = cuda::make_cuda_machine();
    if (!machine)
        return make_error(machine.error().code, "engine backend cuda: " + machine.error().message);
    return std::unique_ptr<Backend>(std::make_unique<cuda::CudaBackend>(
        std::move(machine).value(), cuda::CudaOptions{.threads = threads}));
}

Result<std::unique_ptr<Backend>> make_backend(const EngineOptions& options) {
    const std::int32_t threads =
        options.threads > 0 ? options.threads : std::int32_t{read_machine().threads()};
    if (options.backend == "ref") return make_ref_backend();
    if (options.backend == "cpu") return make_cpu_backend(options.isa, threads, options.cpus);
    if (options.backend == "cuda") return make_cuda_backend(threads);
    if (options.backend == "auto") {
        Result<std::unique_ptr<Backend>> cuda = make_cuda_backend(threads);
        if (cuda) return cuda;
#if defined(HEARTH_HAVE_CUDA)  // Otherwise nobody expects anything else.
        log::info("engine runs on the cpu", {{"because", cuda.error().message}});
#endif
        return make_cpu_backend(options.isa, threads, options.cpus);
    }
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
    auto engine =
        std::make_unique<ForwardEngine>(std::move(checkpoint), std::move(backend).value());
    if (Result<void> ready = engine->prepare(); !ready) return ready.error();
    return std::unique_ptr<Engine>(std::move(engine));
}

}  // namespace hearth::engine
