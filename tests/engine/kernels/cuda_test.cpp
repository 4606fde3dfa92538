// The CUDA ops against ref, where this build has CUDA and this machine a device.
#include "engine/kernels/cuda/cuda_ops.h"

#include <gtest/gtest.h>

#include "engine/kernels/cuda/device.h"
#include "engine/kernels/ref/ref_backend.h"
#include "engine/kernels/rotation.h"
#include "tests/engine/kernels/random_model.h"

namespace hearth::engine::testing {
namespace {

TEST(Cuda, MakeEngineSaysWhatIsMissing) {
    Rng rng(1);
    auto made = make_engine(random_checkpoint(random_config(rng), 1), {.backend = "cuda"});
    ASSERT_FALSE(made.ok());
    EXPECT_EQ(made.error().code, ErrorCode::kUnsupported);
#if defined(HEARTH_HAVE_CUDA)
    const bool has_device = cuda::probe_device().ok();
    const char* const reason = has_device ? "not complete yet" : "no device";
#else
    const char* const reason = "this build has no CUDA";
#endif
    EXPECT_NE(made.error().message.find(reason), std::string::npos) << made.error().message;
}

#if defined(HEARTH_HAVE_CUDA)

template <typename T>
cuda::Memory to_device(const std::vector<T>& values) {
    auto memory = cuda::Memory::allocate(values.size() * sizeof(T));
    CHECK_MSG(memory.ok(), memory.ok() ? "" : memory.error().message);
    memory->upload(values.data(), values.size() * sizeof(T));
    return std::move(memory).value();
}

template <typename T>
std::vector<T> to_host(const cuda::Memory& memory, std::size_t count) {
    std::vector<T> out(count);
    memory.download(out.data(), count * sizeof(T));
    return out;
}

class CudaOps : public ::testing::Test {
  protected:
    void SetUp() override {
        const auto device = cuda::probe_device();
        if (!device) GTEST_SKIP() << "skipped: no CUDA device (" << device.error().message << ")";
    }
};

TEST_F(CudaOps, NormAndQuantizeAgreeWithRef) {
    constexpr std::int32_t kRows = 21;
    for (const std::int32_t width : {4, 60, 64, 172, 576, 4096}) {
        Rng rng(static_cast<std::uint64_t>(width));
        const std::int32_t stride = round_up(width, kRowFloats), wide = round_up(width, kRowBytes);
        std::vector<float> x(static_cast<std::size_t>(kRows * stride));
        for (std::int32_t r = 0; r < kRows; ++r)
            for (std::int32_t i = 0; i < width; ++i)
                x[static_cast<std::size_t>(r * stride + i)] = normal(rng) * 3.0f;
        std::vector<float> gamma = random_gains(rng, width);
        gamma.resize(static_cast<std::size_t>(stride));
        const auto bytes = static_cast<std::size_t>(kRows * wide);
        for (const bool with_norm : {false, true}) {
            std::vector<std::int8_t> q(bytes);
            std::vector<float> scale(kRows);
            std::vector<std::int32_t> sum(kRows);
            const auto device_x = to_device(x), device_gamma = to_device(gamma);
            const auto device_q = to_device(q);
            const auto device_scale = to_device(scale);
            const auto device_sum = to_device(sum);
            const QuantRows host{q.data(), scale.data(), sum.data(), wide};
            const QuantRows device{device_q.as<std::int8_t>(), device_scale.as<float>(),
                                   device_sum.as<std::int32_t>(), wide};
            const auto ref = make_ref_backend();
            if (with_norm) {
                ref->norm_quantize({gamma.data(), width, stride, 1e-5f}, x.data(), kRows, host);
                cuda::norm_quantize({device_gamma.as<float>(), width, stride, 1e-5f},
                                    device_x.as<float>(), kRows, device);
            } else {
                ref->quantize(x.data(), stride, kRows, host);
                cuda::quantize(device_x.as<float>(), stride, kRows, device);
            }
            ASSERT_TRUE(cuda::synchronize().ok());
            const auto got = to_host<std::int8_t>(device_q, bytes);
            const auto got_scale = to_host<float>(device_scale, kRows);
            const auto got_sum = to_host<std::int32_t>(device_sum, kRows);
            for (std::size_t i = 0; i < bytes; ++i) ASSERT_LE(std::abs(got[i] - q[i]), 1) << i;
            for (std::size_t r = 0; r < kRows; ++r) {
                EXPECT_NEAR(got_scale[r], scale[r], 1e-5f * scale[r]);
                std::int32_t want = 0;
                for (std::size_t i = 0; i < static_cast<std::size_t>(wide); ++i)
                    want += got[r * static_cast<std::size_t>(wide) + i];
                EXPECT_EQ(got_sum[r], want);
            }
        }
    }
}

TEST_F(CudaOps, MatmulIsExact) {
    struct Shape {
        std::int32_t rows, n, k;
    };
    for (const Shape& s :
         {Shape{1, 16, 64}, Shape{5, 80, 172}, Shape{64, 64, 576}, Shape{130, 200, 1536}}) {
        Rng rng(static_cast<std::uint64_t>(s.rows));
        const std::int32_t width = round_up(s.k, kRowBytes), channels = round_up(s.n, kRowFloats);
        const QuantMatrix w = random_matrix(rng, s.n, s.k);
        std::vector<std::int8_t> packed(static_cast<std::size_t>(channels * width));
        std::vector<float> scale(static_cast<std::size_t>(channels));
        for (std::int32_t n = 0; n < s.n; ++n)
            scale[static_cast<std::size_t>(n)] =
                rotate_row(w, n,
                           std::span(packed).subspan(static_cast<std::size_t>(n * width),
                                                     static_cast<std::size_t>(width)));
        std::vector<std::int8_t> x(static_cast<std::size_t>(s.rows * width));
        for (std::int8_t& q : x)
            q = static_cast<std::int8_t>(static_cast<int>(rng.below(255)) - 127);
        const std::vector<float> x_scale = random_gains(rng, s.rows);
        const std::vector<float> start = normals(rng, static_cast<std::size_t>(s.rows * s.n));
        const auto device_x = to_device(x), device_w = to_device(packed);
        const auto device_x_scale = to_device(x_scale), device_scale = to_device(scale);
        const auto device_out = to_device(start);
        cuda::matmul({device_x.as<std::int8_t>(), device_x_scale.as<float>(), nullptr, width},
                     s.rows,
                     {device_w.as<std::int8_t>(), device_scale.as<float>(), channels, width},
                     {device_out.as<float>(), s.n, s.n, nullptr, true});
        ASSERT_TRUE(cuda::synchronize().ok());
        const auto got = to_host<float>(device_out, start.size());
        for (std::int32_t m = 0; m < s.rows; ++m) {
            for (std::int32_t n = 0; n < s.n; ++n) {
                std::int32_t acc = 0;
                for (std::int32_t k = 0; k < width; ++k)
                    acc += x[static_cast<std::size_t>(m * width + k)] *
                           packed[static_cast<std::size_t>(n * width + k)];
                const auto at = static_cast<std::size_t>(m * s.n + n);
                const float want = static_cast<float>(acc) * x_scale[static_cast<std::size_t>(m)] *
                                       scale[static_cast<std::size_t>(n)] +
                                   start[at];
                ASSERT_EQ(got[at], want) << m << " " << n;
            }
        }
    }
}

#else

TEST(CudaOps, AgreeWithRef) {
    GTEST_SKIP() << "skipped: this build has no CUDA";
}

#endif

}  // namespace
}  // namespace hearth::engine::testing
