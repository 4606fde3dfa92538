// avx512vnni_kernels: int8 products with vpdpbusd of 512 bits.
#include "engine/kernels/cpu/dot_tile_512.h"

namespace {

constexpr const char* kIsa = "avx512vnni";

}  // namespace

#include "engine/kernels/cpu/interleave_keys.h"
// The order matters: what follows uses pack_keys().
#include "engine/kernels/cpu/attention_kernels.h"

const hearth::engine::cpu::CpuKernels* hearth::engine::cpu::avx512vnni_kernels() {
    return &kKernels;
}
