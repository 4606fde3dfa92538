// Every matrix product kernel against plain sums, exactly: shapes, chips, cuts along K, both sides.
#include <gtest/gtest.h>

#include <bit>

#include "engine/kernels/cuda/cuda_backend.h"
#include "engine/kernels/cuda/kernel_list.h"
#include "tests/engine/kernels/cuda/emulated_machine.h"
#include "tests/engine/kernels/random_model.h"

namespace hearth::engine::testing {
namespace {

using cuda::EmulatedMachine;
using cuda::EmulatedOptions;

struct Product {
    std::int32_t tokens, channels, cols;
};

struct Outcome {
    std::vector<float> got, want;
    std::map<int, int> launches;
};

// x W^T with real scales, bias and accumulation on an emulated device, beside plain loops.
Outcome multiply(const Product& p, const EmulatedOptions& device) {
    auto owned = std::make_unique<EmulatedMachine>(device);
    EmulatedMachine& machine = *owned;
    cuda::CudaBackend backend(std::move(owned), {});
    Rng rng(static_cast<std::uint64_t>(p.tokens * 31 + p.channels));
    QuantMatrix w = random_matrix(rng, p.channels, p.cols);
    QuantMatrix* const parts[] = {&w};
    const auto packed = backend.pack(parts);
    const auto& view = static_cast<const cuda::CudaMatrix&>(*packed).view;
    std::vector<std::int8_t> q(static_cast<std::size_t>(p.tokens * view.width));
    for (std::int8_t& v : q) v = static_cast<std::int8_t>(static_cast<int>(rng.below(255)) - 127);
    std::vector<float> scale = random_gains(rng, p.tokens);
    std::vector<float> bias = random_gains(rng, view.rows);
    Outcome out;
    out.got = normals(rng, static_cast<std::size_t>(p.tokens * p.channels));
    for (std::int32_t m = 0; m < p.tokens; ++m) {
        for (std::int32_t n = 0; n < p.channels; ++n) {
            std::int32_t sum = 0;
            for (std::int32_t k = 0; k < view.width; ++k)
                sum += q[static_cast<std::size_t>(m * view.width + k)] * view.q[n * view.width + k];
            const auto at = static_cast<std::size_t>(m * p.channels + n);
            out.want.push_back(static_cast<float>(sum) * scale[static_cast<std::size_t>(m)] *
                                   view.scale[n] +
                               bias[static_cast<std::size_t>(n)] + out.got[at]);
        }
    }
    const QuantRows x{q.data(), scale.data(), nullptr, view.width};
    // Twice: counters of parts are as they were after the first.
    const std::vector<float> start = out.got;
    for (int i = 0; i < 2; ++i) {
        out.got = start;
        backend.matmul(x, p.tokens, *packed,
                       {out.got.data(), p.channels, p.channels, bias.data(), true});
        EXPECT_TRUE(machine.finish().ok());
    }
    out.launches = machine.launches();
    return out;
}

template <class K>
bool ran(const Outcome& outcome) {
    return outcome.launches.contains(cuda::index_in<K>(cuda::AllKernels{}));
}

const Product kProducts[] = {{1, 80, 64},    {5, 33, 172},    {8, 64, 2048},  {9, 70, 192},
                             {16, 130, 576}, {17, 64, 1100},  {40, 130, 640}, {64, 200, 2048},
                             {65, 16, 64},   {129, 300, 200}, {200, 130, 832}};

TEST(CudaGemm, IsExactOnEveryChip) {
    for (const int major : {8, 9}) {
        for (const int multiprocessors : {1, 132}) {  // Wide tiles and no parts; parts.
            for (const Product& p : kProducts) {
                SCOPED_TRACE(std::to_string(p.tokens) + "x" + std::to_string(p.channels) + "x" +
                             std::to_string(p.cols) + " on " + std::to_string(major) + ", " +
                             std::to_string(multiprocessors));
                const bool unkind = multiprocessors == 1;
                const Outcome o = multiply(p, {.major = major,
                                               .multiprocessors = multiprocessors,
                                               .temper = {unkind, unkind}});
                EXPECT_EQ(o.got, o.want);
            }
        }
    }
}

TEST(CudaGemm, EveryKernelIsUsed) {
    const EmulatedOptions ampere, hopper{.major = 9}, small{.major = 9, .multiprocessors = 1};
    EXPECT_TRUE(ran<cuda::NarrowGemm<8>>(multiply({3, 64, 64}, ampere)));
    EXPECT_TRUE(ran<cuda::NarrowGemm<8>>(multiply({8, 64, 64}, hopper)));
    EXPECT_TRUE(ran<cuda::NarrowGemm<16>>(multiply({16, 64, 64}, ampere)));
    EXPECT_TRUE(ran<cuda::NarrowGemm<32>>(multiply({30, 64, 64}, ampere)));
    EXPECT_TRUE(ran<cuda::NarrowGemm<64>>(multiply({64, 64, 64}, ampere)));
    EXPECT_TRUE(ran<cuda::WideGemm<float>>(multiply({65, 64, 64}, ampere)));
    EXPECT_TRUE(ran<cuda::HopperNarrow<16>>(multiply({9, 64, 64}, hopper)));
    EXPECT_TRUE(ran<cuda::HopperNarrow<32>>(multiply({17, 64, 64}, hopper)));
    EXPECT_TRUE(ran<cuda::HopperNarrow<64>>(multiply({33, 64, 64}, hopper)));
    EXPECT_TRUE((ran<cuda::HopperWide<128, float>>(multiply({65, 64, 64}, hopper))));
    EXPECT_TRUE((ran<cuda::HopperWide<256, float>>(multiply({65, 64, 64}, small))));
}

TEST(CudaGemm, Bfloat16IsTheFloatRounded) {
    for (const int major : {8, 9}) {
        auto owned = std::make_unique<EmulatedMachine>(EmulatedOptions{.major = major});
        EmulatedMachine& machine = *owned;
        cuda::CudaBackend backend(std::move(owned), {});
        Rng rng(3);
        QuantMatrix w = random_matrix(rng, 96, 128);
        QuantMatrix* const parts[] = {&w};
        const auto packed = backend.pack(parts);
        std::vector<std::int8_t> q(70 * 128);
        for (std::int8_t& v : q)
            v = static_cast<std::int8_t>(static_cast<int>(rng.below(255)) - 127);
        std::vector<float> scale = random_gains(rng, 70), want(70 * 96);
        std::vector<std::uint16_t> got(70 * 96);
        const QuantRows x{q.data(), scale.data(), nullptr, 128};
        backend.matmul(x, 70, *packed, {want.data(), 96, 96, nullptr, false});
        cuda::Gemms gemms;
        gemms.run_bfloat16(machine, x, 70, static_cast<const cuda::CudaMatrix&>(*packed),
                           got.data(), 96);
        ASSERT_TRUE(machine.finish().ok());
        for (std::size_t i = 0; i < got.size(); ++i) {
            const float value = std::bit_cast<float>(static_cast<std::uint32_t>(got[i]) << 16);
            EXPECT_LE(std::abs(value - want[i]), std::abs(want[i]) / 256.0f) << i;
        }
    }
}

}  // namespace
}  // namespace hearth::engine::testing
