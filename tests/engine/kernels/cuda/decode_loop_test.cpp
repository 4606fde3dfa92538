// Decoding with steps that overlap: the same tokens as one step after another, whatever shares the
// batch, and rows that leave it.
#include "engine/kernels/cuda/decode_loop.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "engine/kernels/cuda/kernel_list.h"
#include "tests/engine/kernels/cuda/emulated_machine.h"
#include "tests/engine/kernels/random_model.h"

namespace hearth::engine::cuda {
namespace {

using namespace hearth::engine::testing;  // NOLINT: models and pages.

struct Fixture {
    explicit Fixture(std::uint64_t seed, EmulatedOptions options = {}) : rng(seed) {
        config = random_config(rng);
        auto owned = std::make_unique<EmulatedMachine>(options);
        machine = owned.get();
        auto made = std::make_unique<CudaBackend>(std::move(owned),
                                                  CudaOptions{.page_bytes_max = 32u << 20});
        backend = made.get();
        engine = std::make_unique<ForwardEngine>(random_checkpoint(config, seed), std::move(made));
        const Result<void> ready = engine->prepare();
        CHECK_MSG(ready.ok(), ready.ok() ? "" : ready.error().message);
    }
    // The prompt but its last token goes in; the row that feeds that one.
    DecodeLoop::Row begin(const std::vector<TokenId>& prompt) {
        pages.push_back(std::make_unique<Pages>(engine->kv_layout(), 200));
        const Slice slice = {.pages = pages.back()->span(),
                             .start = 0,
                             .tokens = std::span(prompt).first(prompt.size() - 1),
                             .logits = Slice::Logits::kNone};
        engine->step({&slice, 1}, {});
        return {.pages = pages.back()->span(),
                .position = static_cast<std::int32_t>(prompt.size()) - 1,
                .token = prompt.back()};
    }
    std::vector<TokenId> step_by_step(DecodeLoop::Row row, int count) {
        std::vector<TokenId> out;
        std::vector<float> logits(static_cast<std::size_t>(config.vocab_size));
        for (int i = 0; i < count; ++i) {
            const Slice slice = {
                .pages = row.pages, .start = row.position, .tokens = {&row.token, 1}};
            engine->step({&slice, 1}, logits);
            row.token = static_cast<TokenId>(std::max_element(logits.begin(), logits.end()) -
                                             logits.begin());
            ++row.position;
            out.push_back(row.token);
        }
        return out;
    }
    Rng rng;
    ModelConfig config;
    EmulatedMachine* machine;
    CudaBackend* backend;
    std::unique_ptr<ForwardEngine> engine;
    std::vector<std::unique_ptr<Pages>> pages;
};

bool never(TokenId) {
    return false;
}

TEST(DecodeLoop, GreedyTextIsThatOfSteps) {
    for (const std::uint64_t seed : {3u}) {
        Fixture f(seed, {.major = 9, .seed = seed});
        std::vector<std::vector<TokenId>> want;
        std::vector<DecodeLoop::Row> rows;
        for (int i = 0; i < 5; ++i) {
            const auto prompt = random_tokens(f.rng, 20 + 13 * i, f.config.vocab_size);
            want.push_back(f.step_by_step(f.begin(prompt), 18));
            rows.push_back(f.begin(prompt));
        }
        DecodeLoop loop(*f.engine, *f.backend);
        const std::int64_t before = f.machine->replays();
        EXPECT_EQ(loop.generate(rows, 18, never), want);
        EXPECT_GT(f.machine->replays(), before + 10);
        EXPECT_EQ(loop.under_way(), 0);
    }
}

TEST(DecodeLoop, TextsEndByThemselvesAndLeaveTheBatch) {
    Fixture f(7);
    std::vector<std::vector<TokenId>> want;
    std::vector<DecodeLoop::Row> rows;
    std::vector<TokenId> all;
    for (int i = 0; i < 4; ++i) {
        const auto prompt = random_tokens(f.rng, 10 + i, f.config.vocab_size);
        want.push_back(f.step_by_step(f.begin(prompt), 20));
        rows.push_back(f.begin(prompt));
        all.insert(all.end(), want.back().begin(), want.back().end());
    }
    const TokenId end = want[1][6];  // Ends the second text there, if not before.
    const auto ends = [&](TokenId token) { return token == end; };
    for (auto& text : want) {
        const auto at = std::find_if(text.begin(), text.end(), ends);
        if (at != text.end()) text.erase(at + 1, text.end());
    }
    EXPECT_LT(want[1].size(), 20u);
    DecodeLoop loop(*f.engine, *f.backend);
    EXPECT_EQ(loop.generate(rows, 20, ends), want);
}

TEST(DecodeLoop, TheNextStepIsUnderWayBeforeTokensAreRead) {
    Fixture f(9);
    const auto prompt = random_tokens(f.rng, 12, f.config.vocab_size);
    const std::vector<TokenId> want = f.step_by_step(f.begin(prompt), 3);
    DecodeLoop::Row row = f.begin(prompt);
    DecodeLoop loop(*f.engine, *f.backend);
    loop.launch({&row, 1});
    ++row.position;
    row.previous = 0;
    loop.launch({&row, 1});
    EXPECT_EQ(loop.under_way(), 2);
    EXPECT_EQ(loop.collect()[0], want[0]);
    ++row.position;
    loop.launch({&row, 1});
    EXPECT_EQ(loop.collect()[0], want[1]);
    EXPECT_EQ(loop.collect()[0], want[2]);
}

TEST(DecodeLoop, DrawnTokensDependOnTheirOwnRowAlone) {
    Fixture f(11);
    std::vector<std::vector<TokenId>> alone;
    std::vector<DecodeLoop::Row> rows;
    DecodeLoop loop(*f.engine, *f.backend);
    for (std::uint32_t i = 0; i < 3; ++i) {
        const auto prompt = random_tokens(f.rng, 10, f.config.vocab_size);
        for (const bool keep : {false, true}) {
            DecodeLoop::Row row = f.begin(prompt);
            row.temperature = 0.9f;
            row.seed = 100 + i;
            if (keep) rows.push_back(row);
            if (!keep) alone.push_back(loop.generate({row}, 12, never)[0]);
        }
    }
    EXPECT_EQ(loop.generate(rows, 12, never), alone);
    rows[0].seed = 5;
    EXPECT_NE(loop.generate(rows, 12, never)[0], alone[0]);
}

// Frequencies of 20,000 draws against exp(logit / T): within four standard deviations.
TEST(DecodeLoop, DrawsInProportion) {
    const std::vector<float> logits = {1.0f, 0.0f, -1.0f, 2.0f, -50.0f};
    const float temperature = 0.7f;
    EmulatedMachine machine;
    std::vector<int> counts(logits.size());
    constexpr int kDraws = 20000;
    std::vector<float> rows;
    std::vector<SampleRow> samples;
    for (int i = 0; i < kDraws; ++i) {
        rows.insert(rows.end(), logits.begin(), logits.end());
        samples.push_back({1.0f / temperature, static_cast<std::uint32_t>(i / 100), i % 100});
    }
    std::vector<TokenId> tokens(kDraws);
    launch(machine, SampleKernel{rows.data(), samples.data(), tokens.data(), 5},
           {kDraws, 1, 1, 256});
    ASSERT_TRUE(machine.finish().ok());
    for (const TokenId token : tokens) ++counts[static_cast<std::size_t>(token)];
    double sum = 0.0;
    for (const float x : logits) sum += std::exp(x / temperature);
    for (std::size_t i = 0; i < logits.size(); ++i) {
        const double p = std::exp(logits[i] / temperature) / sum;
        EXPECT_NEAR(counts[i], kDraws * p, 4.0 * std::sqrt(kDraws * p) + 1.0) << i;
    }
}

}  // namespace
}  // namespace hearth::engine::cuda
