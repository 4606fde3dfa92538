// kernel_list.h: every kernel by its number, which is how a Machine is told to run one.
#pragma once

#include <cstddef>
#include <type_traits>

#include "engine/kernels/cuda/attention_kernels.h"
#include "engine/kernels/cuda/gemm_kernels.h"
#include "engine/kernels/cuda/hopper_gemm.h"
#include "engine/kernels/cuda/machine.h"
#include "engine/kernels/cuda/sample_kernels.h"

namespace hearth::engine::cuda {

template <class... K>
struct KernelList {
    static constexpr int kCount = sizeof...(K);
};

using RowKernels = KernelList<QuantizeKernel<PlainRow>, QuantizeKernel<NormedRow>,
                              QuantizeKernel<GatedRow>, EmbedKernel, NormAddKernel, NormHeadsKernel,
                              SoftCapKernel, GatherRowsKernel, RopeQuantizeKernel,
                              WriteBehindKernel, CopyPiecesKernel, CombineKernel, SampleKernel>;

// Tiles of the matrix product by mma.sync: 128 tokens by 128 channels, and with swapped sides 64
// channels by 8 to 64 tokens.
template <class Out>
using WideGemm = MmaGemmKernel<128, 128, 2, 4, 3, Out>;
template <int kTokens>
using NarrowGemm = MmaGemmKernel<64, kTokens, 4, 1, (kTokens > 32 ? 4 : 6), float>;
using GemmKernels = KernelList<WideGemm<float>, WideGemm<Bfloat16>, NarrowGemm<8>, NarrowGemm<16>,
                               NarrowGemm<32>, NarrowGemm<64>>;

// The same by wgmma. Stages fill what shared memory a block may have; of the narrow ones, two or
// three blocks share a multiprocessor.
template <int kChannels, class Out>
using HopperWide = HopperGemmKernel<2, kChannels, (kChannels > 128 ? 4 : 6), Out>;
template <int kTokens>
using HopperNarrow = HopperGemmKernel<1, kTokens, (kTokens > 32 ? 4 : 6), float>;
using HopperKernels =
    KernelList<HopperWide<128, float>, HopperWide<256, float>, HopperWide<256, Bfloat16>,
               HopperNarrow<16>, HopperNarrow<32>, HopperNarrow<64>>;

// Attention by width of a head: a warp alone for split contexts, four that share pages for prompts.
template <int kDim, int kWarps>
using AttendOf = AttendKernel<kDim, (kDim > 256 ? 256 : kDim), kWarps>;
using AttendKernels =
    KernelList<AttendOf<64, 1>, AttendOf<64, 4>, AttendOf<128, 1>, AttendOf<128, 4>,
               AttendOf<256, 1>, AttendOf<256, 4>, AttendOf<512, 1>, AttendOf<512, 4>>;

template <class... Lists>
struct Joined;
template <class... A>
struct Joined<KernelList<A...>> {
    using List = KernelList<A...>;
};
template <class... A, class... B, class... Rest>
struct Joined<KernelList<A...>, KernelList<B...>, Rest...> {
    using List = typename Joined<KernelList<A..., B...>, Rest...>::List;
};
using AllKernels = Joined<RowKernels, GemmKernels, AttendKernels, HopperKernels>::List;

// Kernels that only sm_90a can run, and threads of theirs that multiply.
template <class K>
concept OnlyHopper = requires {
    K::kConsumers;
};

template <class K, class... All>
constexpr int index_in(KernelList<All...>) {
    int index = 0;
    const bool found = ((std::is_same_v<K, All> || (++index, false)) || ...);
    return found ? index : -1;
}

template <class K>
void launch(Machine& machine, const K& kernel, const Grid& grid, Stream stream = Stream::kCompute) {
    constexpr int kId = index_in<K>(AllKernels{});
    static_assert(kId >= 0, "a kernel must be in the list");
    if (grid.x > 0) machine.launch_id(kId, &kernel, grid, stream);
}

}  // namespace hearth::engine::cuda
