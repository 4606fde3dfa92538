// Gemms: from a plan to a launch.
#include "engine/kernels/cuda/cuda_matrix.h"

#include "common/base/check.h"
#include "engine/kernels/cuda/kernel_list.h"

namespace hearth::engine::cuda {
namespace {

template <class Out>
Epilogue<Out> epilogue_of(const QuantRows& x, std::int32_t rows, const Matrix& w, Out* out,
                          const MatmulOut& to) {
    return {out, to.stride, rows, to.width, x.scale, w.scale, to.bias, to.accumulate};
}

template <class Out>
void run_wide(Machine& machine, const QuantRows& x, std::int32_t rows, const Matrix& w,
              const Epilogue<Out>& epilogue) {
    const WideGemm<Out> kernel{.a = {x.q, x.scale, rows},
                               .b = {w.q, w.scale, epilogue.channels},
                               .width = w.width,
                               .swapped = false,
                               .split = {},
                               .epilogue = epilogue};
    launch(machine, kernel, kernel.grid());
}

template <int kTokens>
void run_narrow(Machine& machine, const QuantRows& x, std::int32_t rows, const Matrix& w,
                const Epilogue<float>& epilogue, const SplitK& split) {
    const NarrowGemm<kTokens> kernel{.a = {w.q, w.scale, epilogue.channels},
                                     .b = {x.q, x.scale, rows},
                                     .width = w.width,
                                     .swapped = true,
                                     .split = split,
                                     .epilogue = epilogue};
    launch(machine, kernel, kernel.grid());
}

// Which tiles of x: of 64 rows, or as many as there are tokens in a narrow tile.
template <class K, class Out>
void run_hopper(Machine& machine, const QuantRows& x, std::int32_t rows, const CudaMatrix& w,
                const Epilogue<Out>& epilogue, bool swapped, const SplitK& split) {
    TensorMap tokens;
    const bool made = machine.tensor_map(tokens, x.q, rows, x.stride, swapped ? K::kBox : 64);
    CHECK_MSG(made && w.has_tiles, "the driver describes no tiles to the copy engine");
    const K kernel{.a = swapped ? w.tiles : tokens,
                   .b = swapped ? tokens : w.tiles,
                   .a_rows = swapped ? epilogue.channels : rows,
                   .b_rows = swapped ? rows : epilogue.channels,
                   .width = w.view.width,
                   .swapped = swapped,
                   .split = split,
                   .epilogue = epilogue};
    launch(machine, kernel, kernel.grid());
}

}  // namespace

void Gemms::reserve(Machine& machine, const GemmPlan& plan) {
    const std::size_t ints = partial_ints(plan), tiles = static_cast<std::size_t>(plan.tiles);
    const auto grow = [&](std::shared_ptr<std::byte>& memory, std::size_t& size,
                          std::size_t wanted) {
        if (wanted <= size) return;
        auto made = machine.allocate(wanted * sizeof(std::int32_t), Use::kActivations);
        if (!made) {
            if (failed_) failed_ = made.error();
            return;
        }
        memory = std::move(made).value();
        size = wanted;
    };
    if (plan.parts == 1) return;
    grow(sums_, sum_ints_, ints);
    grow(counts_, count_ints_, tiles);
}

void Gemms::prepare(Machine& machine, CudaMatrix& matrix) {
    const Device& device = machine.device();
    for (const std::int32_t tokens : {8, 16, 32, 64})
        reserve(machine, plan_gemm({tokens, matrix.view.rows, matrix.view.width}, device.major,
                                   device.multiprocessors));
    if (device.major != 9) return;
    matrix.has_tiles =
        machine.tensor_map(matrix.tiles, matrix.view.q, matrix.view.rows, matrix.view.width, 64);
}

void Gemms::run(Machine& machine, const QuantRows& x, std::int32_t rows, const CudaMatrix& w,
                const MatmulOut& out) {
    CHECK(x.stride == w.view.width && w.view.width % kRowBytes == 0 && out.width <= w.rows);
    const Device& device = machine.device();
    const GemmPlan plan =
        plan_gemm({rows, out.width, w.view.width}, device.major, device.multiprocessors);
    const Epilogue<float> epilogue = epilogue_of(x, rows, w.view, out.out, out);
    const SplitK split{plan.parts, reinterpret_cast<std::int32_t*>(sums_.get()),
                       reinterpret_cast<int*>(counts_.get())};
    CHECK(partial_ints(plan) <= sum_ints_ || plan.parts == 1);
    switch (plan.kind) {
        case GemmKind::kHopperWide:
            if (plan.tile_channels == 256)
                return run_hopper<HopperWide<256, float>>(machine, x, rows, w, epilogue, false, {});
            return run_hopper<HopperWide<128, float>>(machine, x, rows, w, epilogue, false, {});
        case GemmKind::kHopperNarrow:
            if (plan.tile_tokens == 16)
                return run_hopper<HopperNarrow<16>>(machine, x, rows, w, epilogue, true, split);
            if (plan.tile_tokens == 32)
                return run_hopper<HopperNarrow<32>>(machine, x, rows, w, epilogue, true, split);
            return run_hopper<HopperNarrow<64>>(machine, x, rows, w, epilogue, true, split);
        case GemmKind::kMmaWide: return run_wide(machine, x, rows, w.view, epilogue);
        case GemmKind::kMmaNarrow: break;
        case GemmKind::kFp8: CHECK_MSG(false, "fp8 products are a seam: nothing computes them");
    }
    if (plan.tile_tokens == 8) return run_narrow<8>(machine, x, rows, w.view, epilogue, split);
    if (plan.tile_tokens == 16) return run_narrow<16>(machine, x, rows, w.view, epilogue, split);
    if (plan.tile_tokens == 32) return run_narrow<32>(machine, x, rows, w.view, epilogue, split);
    run_narrow<64>(machine, x, rows, w.view, epilogue, split);
}

void Gemms::run_bfloat16(Machine& machine, const QuantRows& x, std::int32_t rows,
                         const CudaMatrix& w, std::uint16_t* out, std::int32_t stride) {
    const MatmulOut to{nullptr, stride, w.rows, nullptr, false};
    const Epilogue<Bfloat16> epilogue =
        epilogue_of(x, rows, w.view, reinterpret_cast<Bfloat16*>(out), to);
    if (machine.device().major == 9)
        return run_hopper<HopperWide<256, Bfloat16>>(machine, x, rows, w, epilogue, false, {});
    run_wide(machine, x, rows, w.view, epilogue);
}

}  // namespace hearth::engine::cuda
