// amx_kernels: avx512vnni's, with matrix tiles for products of four rows and more. The weights are
// packed alike: 16 groups of a block are a tile.
#define HEARTH_MATRIX_TILES
#include "engine/kernels/cpu/dot_tile_512.h"

namespace {

constexpr const char* kIsa = "amx";

// In assembly, for the instructions take their tiles by number; the compiler keeps nothing in them.
struct Tiles {
    template <typename Shapes>
    HEARTH_INLINE static void configure(const Shapes& shapes) {
        asm volatile("ldtilecfg %0" : : "m"(shapes));
    }
    HEARTH_INLINE static void release() { asm volatile("tilerelease"); }
    template <int kTile>
    HEARTH_INLINE static void zero() {
        asm volatile("tilezero %%tmm%c0" : : "i"(kTile));
    }
    template <int kTile>
    HEARTH_INLINE static void load(const void* from, std::ptrdiff_t stride) {
        asm volatile("tileloadd (%0,%1,1), %%tmm%c2"
                     :
                     : "r"(from), "r"(stride), "i"(kTile)
                     : "memory");
    }
    template <int kTile>
    HEARTH_INLINE static void store(void* to, std::ptrdiff_t stride) {
        asm volatile("tilestored %%tmm%c2, (%0,%1,1)"
                     :
                     : "r"(to), "r"(stride), "i"(kTile)
                     : "memory");
    }
    // Of signed rows and unsigned weights.
    template <int kSum, int kRows, int kWeights>
    HEARTH_INLINE static void add_products() {
        asm volatile("tdpbsud %%tmm%c2, %%tmm%c1, %%tmm%c0"
                     :
                     : "i"(kSum), "i"(kRows), "i"(kWeights));
    }
};

}  // namespace

#include "engine/kernels/cpu/interleave_keys.h"
// The order matters: what follows uses pack_keys().
#include "engine/kernels/cpu/attention_kernels.h"

const hearth::engine::cpu::CpuKernels* hearth::engine::cpu::amx_kernels() {
    return &kKernels;
}
