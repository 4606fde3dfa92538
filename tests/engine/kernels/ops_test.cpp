// One table of op cases, run on ref and on every instruction set this machine has: the cpu kernels
// agree with each other bit for bit, and with ref to float's rounding.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "engine/kernels/cpu/cpu_backend.h"
#include "engine/kernels/ref/ref_backend.h"
#include "engine/kernels/rotation.h"
#include "tests/engine/kernels/amx_model_kernels.h"
#include "tests/engine/kernels/op_cases.h"

namespace hearth::engine::testing {
namespace {

TEST(Ops, CpuAgreesWithRefAndAllInstructionSetsAgreeExactly) {
    const auto ref = make_ref_backend();
    const auto generic = make_cpu_backend("generic", 1);
    ASSERT_TRUE(generic.ok());
    for (const OpCase& op : op_cases()) {
        SCOPED_TRACE(op.name);
        const Output want = op.run(*ref);
        const Output plain = op.run(**generic);
        expect_near(plain, want, op);
        for (const std::string& isa : usable_cpu_isas()) {
            SCOPED_TRACE(isa);
            for (const std::int32_t threads : {1, 3}) {
                const auto backend = make_cpu_backend(isa, threads);
                ASSERT_TRUE(backend.ok());
                EXPECT_TRUE(same_bits(op.run(**backend), plain)) << threads << " threads";
            }
        }
    }
}

TEST(Ops, TheCodeOfMatrixTilesAgreesExactlyOverAModelOfThem) {
    const auto generic = make_cpu_backend("generic", 1);
    const auto model = make_cpu_backend(amx_model_kernels(), 1);
    for (const OpCase& op : op_cases())
        EXPECT_TRUE(same_bits(op.run(*model), op.run(**generic))) << op.name;
}

// Every number of rows that leaves the tiles something to share out, and channels that do not fill
// a pair of blocks.
TEST(Ops, MatrixTilesTakeAnyNumberOfRowsAndChannels) {
    const auto generic = make_cpu_backend("generic", 1);
    const auto model = make_cpu_backend(amx_model_kernels(), 1);
    Rng rng(5);
    for (const std::int32_t channels : {16, 33, 64, 130}) {
        for (std::int32_t rows = 1; rows <= 100; rows += rows < 36 ? 1 : 13) {
            constexpr std::int32_t kCols = 192;
            OwnedQuantRows x(rows, kCols);
            Rows floats(rng, rows, kCols);
            (*generic)->quantize(floats.data.data(), floats.stride, rows, x.view);
            std::vector<float> want, got;
            for (Backend* backend : {generic->get(), model.get()}) {
                Rng same(7);
                QuantMatrix w = random_matrix(same, channels, kCols);
                QuantMatrix* const parts[] = {&w};
                const auto packed = backend->pack(parts);
                std::vector<float>& out = backend == model.get() ? got : want;
                out.assign(static_cast<std::size_t>(rows * channels), -1.0f);
                backend->matmul(x.view, rows, *packed,
                                {out.data(), channels, channels, nullptr, false});
            }
            ASSERT_EQ(got, want) << rows << " rows, " << channels << " channels";
        }
    }
}

TEST(Ops, SaturatingProductsAreExact) {
    // All products have one sign and the largest size: any int16 or int32 saturation would show.
    // A block whose first weight alone is not zero rotates to 64 equal weights, which become 127.
    constexpr std::int32_t kCols = 131072;
    for (const std::string& isa : usable_cpu_isas()) {
        const auto backend = make_cpu_backend(isa, 1);
        OwnedQuantRows x(1, kCols);
        std::memset(x.q.data(), 127, kCols);
        x.sum.data()[0] = 127 * kCols;
        x.scale.data()[0] = 8.0f;
        QuantMatrix w{2, kCols, std::vector<std::int8_t>(2 * kCols), {1.0f, 1.0f}};
        for (std::size_t i = 0; i < w.q.size(); i += kRotation) w.q[i] = i < kCols ? 127 : -127;
        QuantMatrix* const parts[] = {&w};
        const auto packed = (*backend)->pack(parts);
        float out[2];
        (*backend)->matmul(x.view, 1, *packed, {out, 2, 2, nullptr, false});
        EXPECT_EQ(out[0], 127.0f * 127.0f * kCols) << isa;
        EXPECT_EQ(out[1], -127.0f * 127.0f * kCols) << isa;
    }
}

// Relative error of a quantised product against the product of the floats it came from.
double product_error(Backend& backend, std::int32_t cols, float outlier) {
    Rng rng(4);
    Rows x(rng, 8, cols);
    for (std::int32_t r = 0; r < 8; ++r) x.data.data()[r * x.stride + cols / 2] *= outlier;
    QuantMatrix w = random_matrix(rng, 48, cols);
    const QuantMatrix original = w;
    QuantMatrix* const parts[] = {&w};
    const auto packed = backend.pack(parts);
    OwnedQuantRows q(8, cols);
    backend.quantize(x.data.data(), x.stride, 8, q.view);
    std::vector<float> out(8 * 48);
    backend.matmul(q.view, 8, *packed, {out.data(), 48, 48, nullptr, false});
    double error = 0.0, size = 0.0;
    for (std::int32_t m = 0; m < 8; ++m) {
        for (std::int32_t n = 0; n < 48; ++n) {
            double want = 0.0;
            for (std::int32_t k = 0; k < cols; ++k)
                want += double{x.data.data()[m * x.stride + k]} *
                        original.q[static_cast<std::size_t>(n * cols + k)] *
                        original.scale[static_cast<std::size_t>(n)];
            error += std::pow(out[static_cast<std::size_t>(m * 48 + n)] - want, 2.0);
            size += want * want;
        }
    }
    return std::sqrt(error / size);
}

TEST(Ops, RotationKeepsProductsAndTamesOutliers) {
    const auto ref = make_ref_backend();
    const auto cpu = make_cpu_backend("auto", 1);
    for (Backend* backend : {ref.get(), cpu->get()}) {
        for (const std::int32_t cols : {64, 172, 576}) {
            EXPECT_LT(product_error(*backend, cols, 1.0f), 0.02) << cols;
            // Without the rotation this is above 0.05: the other channels get two or three steps.
            EXPECT_LT(product_error(*backend, cols, 60.0f), 0.03) << cols;
        }
    }
}

TEST(Ops, NotANumberDoesNotSpreadBeyondItsRow) {
    for (const std::string& isa : usable_cpu_isas()) {
        const auto backend = make_cpu_backend(isa, 1);
        Rng rng(3);
        Rows x(rng, 3, 32);
        OwnedQuantRows clean(3, 32), dirty(3, 32);
        (*backend)->quantize(x.data.data(), x.stride, 3, clean.view);
        x.data.data()[x.stride + 5] = std::nanf("");
        (*backend)->quantize(x.data.data(), x.stride, 3, dirty.view);
        for (std::int32_t i = 0; i < 64; ++i) {
            EXPECT_EQ(clean.q.data()[i], dirty.q.data()[i]);
            EXPECT_EQ(clean.q.data()[128 + i], dirty.q.data()[128 + i]);
        }
    }
}

TEST(Ops, UnknownInstructionSetIsAnError) {
    const auto made = make_cpu_backend("sse9", 1);
    ASSERT_FALSE(made.ok());
    EXPECT_EQ(made.error().code, ErrorCode::kInvalidArgument);
    EXPECT_NE(made.error().message.find("avx512vnni"), std::string::npos);
}

}  // namespace
}  // namespace hearth::engine::testing
