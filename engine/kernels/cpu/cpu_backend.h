// make_cpu_backend: the backend for this machine's processor, or for a named instruction set.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "common/base/result.h"
#include "engine/kernels/ops.h"

namespace hearth::engine {

namespace cpu {
struct CpuKernels;
}

// `isa`: auto, amx, avx512vnni, avxvnni, avx2 or generic. kUnsupported if build or machine lacks
// it, kInvalidArgument if there is no such name. `threads` >= 1, the caller's included; `cpus` as
// ThreadPool's.
Result<std::unique_ptr<Backend>> make_cpu_backend(const std::string& isa, std::int32_t threads,
                                                  std::span<const int> cpus = {});

// The same for kernels that are no machine's: tests have some.
std::unique_ptr<Backend> make_cpu_backend(const cpu::CpuKernels& kernels, std::int32_t threads,
                                          std::span<const int> cpus = {});

// Names that make_cpu_backend accepts here, fastest first.
std::vector<std::string> usable_cpu_isas();

// Does int8 products with nothing in their way, on one thread, some microseconds per round; returns
// the multiply-adds done. For benchmarks. `isa` as above, and usable.
std::int64_t probe_cpu_products(const std::string& isa, std::int32_t rounds);

}  // namespace hearth::engine
