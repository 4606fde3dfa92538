// Whole models where a CUDA device is; and the same on the emulated one, so that what is to be
// found out there is sure to be about the device.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "engine/kernels/cuda/decode_loop.h"
#include "tests/engine/kernels/cuda/emulated_machine.h"
#include "tests/engine/kernels/random_model.h"

namespace hearth::engine::testing {
namespace {

using Logits = std::vector<float>;

class CudaModels : public ::testing::TestWithParam<bool> {
  protected:
    void SetUp() override {
        if (!GetParam()) return;
        if (const auto machine = cuda::make_cuda_machine(); !machine)
            GTEST_SKIP() << "skipped: no CUDA device (" << machine.error().message << ")";
    }

    void start(const ModelConfig& model, std::uint64_t seed) {
        pages_.clear();
        engine_.reset();
        config_ = model;
        std::unique_ptr<cuda::Machine> machine;
        if (GetParam()) {
            machine = std::move(cuda::make_cuda_machine()).value();
        } else {
            machine = std::make_unique<cuda::EmulatedMachine>(
                cuda::EmulatedOptions{.major = seed % 2 == 0 ? 9 : 8, .seed = seed});
        }
        auto backend = std::make_unique<cuda::CudaBackend>(
            std::move(machine), cuda::CudaOptions{.page_bytes_max = 32u << 20});
        backend_ = backend.get();
        engine_ =
            std::make_unique<ForwardEngine>(random_checkpoint(model, seed), std::move(backend));
        const Result<void> ready = engine_->prepare();
        ASSERT_TRUE(ready.ok()) << ready.error().message;
    }

    // Pages in pinned memory, full of bytes that would show.
    std::vector<std::byte*> pages(std::int32_t tokens) {
        const std::size_t bytes = engine_->kv_layout().page_bytes();
        const auto count = static_cast<std::size_t>((tokens + kPageTokens - 1) / kPageTokens);
        pages_.push_back(std::move(backend_->machine().allocate_pinned(bytes * count)).value());
        std::memset(pages_.back().get(), 0xff, bytes * count);
        std::vector<std::byte*> out;
        for (std::size_t i = 0; i < count; ++i) out.push_back(pages_.back().get() + i * bytes);
        for (const std::byte* page : out) engine_->page_changed(page);
        return out;
    }

    Logits feed(std::span<std::byte* const> at, const std::vector<TokenId>& text, std::int32_t from,
                std::int32_t count) {
        Logits out(static_cast<std::size_t>(count) * static_cast<std::size_t>(config_.vocab_size));
        const Slice slice = {.pages = at,
                             .start = from,
                             .tokens = std::span(text).subspan(static_cast<std::size_t>(from),
                                                               static_cast<std::size_t>(count)),
                             .logits = Slice::Logits::kAll};
        engine_->step({&slice, 1}, out);
        return out;
    }
    Logits run(const std::vector<TokenId>& text, std::int32_t chunk) {
        const auto count = static_cast<std::int32_t>(text.size());
        const std::vector<std::byte*> at = pages(count);
        Logits out;
        for (std::int32_t from = 0; from < count; from += chunk) {
            const Logits part = feed(at, text, from, std::min(chunk, count - from));
            out.insert(out.end(), part.begin(), part.end());
        }
        return out;
    }
    static bool same_bits(const Logits& a, const Logits& b) {
        return a.size() == b.size() &&
               std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
    }

    ModelConfig config_;
    cuda::CudaBackend* backend_ = nullptr;
    std::unique_ptr<ForwardEngine> engine_;
    std::vector<std::shared_ptr<std::byte>> pages_;
};

TEST_P(CudaModels, LogitsAreNearRefAndSlicesChangeNoBit) {
    const std::uint64_t seeds = GetParam() ? 24 : 2;
    for (std::uint64_t seed = 1; seed <= seeds; ++seed) {
        SCOPED_TRACE("seed " + std::to_string(seed));
        Rng rng(seed);
        const ModelConfig model = random_config(rng);
        start(model, seed);
        const auto ref = engine_or_die(random_checkpoint(model, seed), {.backend = "ref"});
        const std::vector<TokenId> text = random_tokens(rng, 75, model.vocab_size);
        const Pages host(ref->kv_layout(), 75);
        Logits want(75 * static_cast<std::size_t>(model.vocab_size));
        const Slice slice = {.pages = host.span(), .tokens = text, .logits = Slice::Logits::kAll};
        ref->step({&slice, 1}, want);
        const Logits got = run(text, 75);
        double error = 0.0, size = 0.0;
        for (std::size_t i = 0; i < want.size(); ++i) {
            error += std::pow(double{got[i]} - want[i], 2.0);
            size += std::pow(double{want[i]}, 2.0);
        }
        EXPECT_LT(std::sqrt(error / size), 0.03);
        for (const std::int32_t chunk : {1, 7, 64})
            EXPECT_TRUE(same_bits(run(text, chunk), got)) << chunk;
    }
}

TEST_P(CudaModels, PagesThatLeftTheDeviceComeBackTheSame) {
    Rng rng(21);
    start(random_config(rng), 21);
    const std::vector<TokenId> text = random_tokens(rng, 140, config_.vocab_size);
    const Logits want = run(text, 140);
    const std::vector<std::byte*> at = pages(140);
    feed(at, text, 0, 100);
    for (const std::byte* page : at) engine_->page_changed(page);  // Gone from the device.
    const Logits got = feed(at, text, 100, 40);
    EXPECT_EQ(
        0, std::memcmp(got.data(), want.data() + 100 * static_cast<std::size_t>(config_.vocab_size),
                       got.size() * sizeof(float)));
    EXPECT_GT(backend_->figures().restored_bytes, 0);
}

TEST_P(CudaModels, OverlappingStepsWriteTheSameText) {
    Rng rng(22);
    start(random_config(rng), 22);
    cuda::DecodeLoop loop(*engine_, *backend_);
    std::vector<std::vector<TokenId>> want;
    std::vector<cuda::DecodeLoop::Row> rows;
    std::vector<std::vector<std::byte*>> held;
    for (int i = 0; i < 3; ++i) {
        std::vector<TokenId> text = random_tokens(rng, 5 + i, config_.vocab_size);
        held.push_back(pages(60));
        if (text.size() > 1) feed(held.back(), text, 0, static_cast<std::int32_t>(text.size()) - 1);
        rows.push_back({.pages = {},
                        .position = static_cast<std::int32_t>(text.size()) - 1,
                        .token = text.back()});
        const std::vector<std::byte*> own = pages(60);
        feed(own, text, 0, static_cast<std::int32_t>(text.size()) - 1);
        want.emplace_back();
        for (int step = 0; step < 12; ++step) {
            const auto last = static_cast<std::int32_t>(text.size()) - 1;
            const Logits logits = feed(own, text, last, 1);
            text.push_back(static_cast<TokenId>(std::max_element(logits.begin(), logits.end()) -
                                                logits.begin()));
            want.back().push_back(text.back());
        }
    }
    for (std::size_t i = 0; i < rows.size(); ++i) rows[i].pages = held[i];
    EXPECT_EQ(loop.generate(rows, 12, [](TokenId) { return false; }), want);
}

INSTANTIATE_TEST_SUITE_P(On, CudaModels, ::testing::Bool(),
                         [](const auto& where) { return where.param ? "Device" : "Emulated"; });

}  // namespace
}  // namespace hearth::engine::testing
