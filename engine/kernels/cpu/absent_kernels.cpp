// absent_kernels: on processors other than x86-64 the x86 instruction sets are not in the build.
#include "engine/kernels/cpu/kernels.h"

#if !defined(__x86_64__)
namespace hearth::engine::cpu {
const CpuKernels* avx2_kernels() {
    return nullptr;
}
const CpuKernels* avxvnni_kernels() {
    return nullptr;
}
const CpuKernels* avx512vnni_kernels() {
    return nullptr;
}
const CpuKernels* amx_kernels() {
    return nullptr;
}
}  // namespace hearth::engine::cpu
#endif
