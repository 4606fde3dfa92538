// Whole models on the CUDA backend, its device emulated: the engine's promises (a row's logits do
// not depend on batch, slices, graphs, restores), nearness to ref, and pages that are the caller's.
#include <gtest/gtest.h>

#include <cstring>

#include "engine/kernels/cuda/cuda_backend.h"
#include "engine/kernels/cuda/kernel_list.h"
#include "engine/kernels/forward.h"
#include "tests/engine/kernels/cuda/emulated_machine.h"
#include "tests/engine/kernels/random_model.h"

namespace hearth::engine::testing {
namespace {

using cuda::CudaBackend;
using cuda::CudaOptions;
using cuda::EmulatedMachine;
using cuda::EmulatedOptions;
using Logits = std::vector<float>;

// An engine, and what the tests look at behind it.
struct Emulated {
    Emulated(const ModelConfig& config, std::uint64_t seed, const EmulatedOptions& device = {},
             CudaOptions options = {}) {
        auto owned = std::make_unique<EmulatedMachine>(device);
        machine = owned.get();
        options.page_bytes_max = std::min<std::size_t>(options.page_bytes_max, 64u << 20);
        auto made = std::make_unique<CudaBackend>(std::move(owned), options);
        backend = made.get();
        engine = std::make_unique<ForwardEngine>(random_checkpoint(config, seed), std::move(made));
        const Result<void> ready = engine->prepare();
        CHECK_MSG(ready.ok(), ready.ok() ? "" : ready.error().message);
    }
    EmulatedMachine* machine;
    CudaBackend* backend;
    std::unique_ptr<ForwardEngine> engine;
};

Logits feed(Engine& engine, const Pages& pages, const std::vector<TokenId>& tokens,
            std::int32_t from, std::int32_t count, Slice::Logits which = Slice::Logits::kAll) {
    const auto vocab = static_cast<std::size_t>(engine.config().vocab_size);
    const auto rows = static_cast<std::size_t>(which == Slice::Logits::kAll ? count : 1);
    Logits out(rows * vocab);
    const Slice slice = {.pages = pages.span(),
                         .start = from,
                         .tokens = std::span(tokens).subspan(static_cast<std::size_t>(from),
                                                             static_cast<std::size_t>(count)),
                         .logits = which};
    engine.step({&slice, 1}, out);
    return out;
}

Logits run_alone(Engine& engine, const std::vector<TokenId>& tokens, std::int32_t chunk) {
    const auto count = static_cast<std::int32_t>(tokens.size());
    const Pages pages(engine.kv_layout(), count);
    Logits out;
    for (std::int32_t from = 0; from < count; from += chunk) {
        const Logits part = feed(engine, pages, tokens, from, std::min(chunk, count - from));
        out.insert(out.end(), part.begin(), part.end());
    }
    for (std::byte* page : pages.span()) engine.page_changed(page);
    return out;
}

bool same_bits(const Logits& a, const Logits& b) {
    return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

double relative_error(const Logits& got, const Logits& want) {
    double error = 0.0, size = 0.0;
    for (std::size_t i = 0; i < want.size(); ++i) {
        error += std::pow(double{got[i]} - want[i], 2.0);
        size += std::pow(double{want[i]}, 2.0);
    }
    return std::sqrt(error / size);
}

TEST(CudaEngine, IsCloseToRef) {
    for (std::uint64_t seed = 1; seed <= 6; ++seed) {
        SCOPED_TRACE("seed " + std::to_string(seed));
        Rng rng(seed);
        const ModelConfig config = random_config(rng);
        const auto ref = engine_or_die(random_checkpoint(config, seed), {.backend = "ref"});
        Emulated cuda(config, seed, {.major = seed % 2 == 0 ? 9 : 8, .seed = seed});
        const std::vector<TokenId> text = random_tokens(rng, 70, config.vocab_size);
        EXPECT_LT(relative_error(run_alone(*cuda.engine, text, 33), run_alone(*ref, text, 70)),
                  0.03);
    }
}

TEST(CudaEngine, SlicesAndTempersChangeNoBit) {
    for (std::uint64_t seed = 1; seed <= 2; ++seed) {
        SCOPED_TRACE("seed " + std::to_string(seed));
        Rng rng(seed);
        const ModelConfig config = random_config(rng);
        const std::vector<TokenId> text = random_tokens(rng, 80, config.vocab_size);
        Logits want;
        for (const bool unkind : {false, true}) {
            Emulated cuda(config, seed,
                          {.major = 9, .temper = {unkind, unkind}, .seed = seed + unkind});
            if (want.empty()) want = run_alone(*cuda.engine, text, 80);
            for (const std::int32_t chunk : {1, 7, 64, 80})
                EXPECT_TRUE(same_bits(run_alone(*cuda.engine, text, chunk), want)) << chunk;
            EXPECT_GT(cuda.machine->replays(), 70);
        }
    }
}

// Decoding attends segment by segment in blocks apart, a prompt in one block: the same bits.
TEST(CudaEngine, LongContextsAreCutWithoutATrace) {
    Rng rng(77);
    ModelConfig config = random_config(rng);
    config.context_length = 1000;
    config.kv_heads = 1;
    config.heads = 2;
    config.kv_banks = 2;
    config.layers = {{.kv_bank = 0}, {.kv_bank = 1, .window = 600}};
    const std::vector<TokenId> text = random_tokens(rng, 700, config.vocab_size);
    Emulated cuda(config, 77);
    const Logits want = run_alone(*cuda.engine, text, 700);
    const Pages pages(cuda.engine->kv_layout(), 700);
    feed(*cuda.engine, pages, text, 0, 694);
    const auto combines = [&] {
        const auto it =
            cuda.machine->launches().find(cuda::index_in<cuda::CombineKernel>(cuda::AllKernels{}));
        return it == cuda.machine->launches().end() ? 0 : it->second;
    };
    const int before = combines();
    const auto vocab = static_cast<std::size_t>(config.vocab_size);
    for (std::int32_t i = 694; i < 700; ++i) {
        const Logits row = feed(*cuda.engine, pages, text, i, 1);
        ASSERT_EQ(0, std::memcmp(row.data(), want.data() + static_cast<std::size_t>(i) * vocab,
                                 vocab * sizeof(float)))
            << i;
    }
    EXPECT_GT(combines(), before);
}

// Batches of decoding rows are padded to a graph's size, and prompts come in between.
TEST(CudaEngine, BatchesAndGraphsChangeNoBit) {
    Rng rng(5);
    const ModelConfig config = random_config(rng);
    const auto vocab = static_cast<std::size_t>(config.vocab_size);
    Emulated cuda(config, 5, {.major = 9});
    std::vector<std::vector<TokenId>> texts;
    std::vector<Logits> want;
    for (int i = 0; i < 9; ++i) {
        texts.push_back(random_tokens(rng, 90, config.vocab_size));
        want.push_back(run_alone(*cuda.engine, texts.back(), 90));
    }
    std::vector<Pages> pages;
    for (std::size_t i = 0; i < texts.size(); ++i) {
        pages.emplace_back(cuda.engine->kv_layout(), 90);
        feed(*cuda.engine, pages.back(), texts[i], 0, 40 + static_cast<std::int32_t>(i));
    }
    std::vector<std::size_t> at;
    for (std::size_t i = 0; i < texts.size(); ++i) at.push_back(40 + i);
    for (std::size_t step = 0; step < 24; ++step) {
        const std::size_t count = step < 8 ? texts.size() : 3 + step % 7;
        std::vector<Slice> batch;
        for (std::size_t i = 0; i < count; ++i)
            batch.push_back({.pages = pages[i].span(),
                             .start = static_cast<std::int32_t>(at[i]),
                             .tokens = std::span(texts[i]).subspan(at[i], 1),
                             .logits = Slice::Logits::kLast});
        Logits got(batch.size() * vocab);
        cuda.engine->step(batch, got);
        for (std::size_t i = 0; i < count; ++i, ++at[i - 1])
            EXPECT_EQ(0, std::memcmp(got.data() + i * vocab, want[i].data() + at[i] * vocab,
                                     vocab * sizeof(float)))
                << "step " << step << " sequence " << i;
    }
    EXPECT_GT(cuda.machine->replays(), 5);
}

// What a step wrote lies in the caller's pages, byte for byte what the device has: pages that were
// thrown out, or moved by their caller, serve as before.
TEST(CudaEngine, PagesComeBackFromTheirCaller) {
    for (const bool by_kernel : {false, true}) {
        Rng rng(9);
        ModelConfig config = random_config(rng);
        config.context_length = 256;
        const KvLayout kv = KvLayout::of(config);
        // Six slots: two sequences of 200 tokens do not fit beside each other.
        Emulated cuda(config, 9, {.temper = {false, true}},
                      {.page_bytes_max = 6 * kv.page_bytes(), .copy_kernel = by_kernel});
        EXPECT_EQ(cuda.backend->page_slots(), 6);
        const std::vector<TokenId> a = random_tokens(rng, 200, config.vocab_size);
        const std::vector<TokenId> b = random_tokens(rng, 200, config.vocab_size);
        const Logits want_a = run_alone(*cuda.engine, a, 200);
        const Logits want_b = run_alone(*cuda.engine, b, 200);
        const Pages pages_a(kv, 200), pages_b(kv, 200);
        Logits got_a, got_b;
        std::int64_t restored = 0;
        const auto before = cuda.engine->device_figures();
        ASSERT_TRUE(before.has_value());
        for (std::int32_t from = 0; from < 200; from += 50) {
            const Logits part_a = feed(*cuda.engine, pages_a, a, from, 50);
            restored += cuda.backend->figures().restored_bytes;
            got_a.insert(got_a.end(), part_a.begin(), part_a.end());
            const Logits part_b = feed(*cuda.engine, pages_b, b, from, 50);
            restored += cuda.backend->figures().restored_bytes;
            got_b.insert(got_b.end(), part_b.begin(), part_b.end());
        }
        EXPECT_TRUE(same_bits(got_a, want_a));
        EXPECT_TRUE(same_bits(got_b, want_b));
        EXPECT_GT(restored, 0);
        const auto after = cuda.engine->device_figures();
        EXPECT_EQ(after->restored_bytes - before->restored_bytes, restored);
        EXPECT_EQ(after->passes - before->passes, 8);
        EXPECT_GT(after->read_bytes, before->read_bytes);
        EXPECT_STREQ(after->memory[1].name, "pages");
        EXPECT_GE(after->memory[1].bytes, static_cast<std::int64_t>(6 * kv.page_bytes()));
        // A copy of the pages elsewhere, half of the last one: as a fork of the chat would make.
        const Pages copy(kv, 200);
        for (std::size_t i = 0; i < 4; ++i)
            std::memcpy(copy.span()[i], pages_a.span()[i], kv.page_bytes());
        for (std::byte* page : copy.span()) cuda.engine->page_changed(page);
        const Logits again = feed(*cuda.engine, copy, a, 170, 30);
        EXPECT_EQ(0, std::memcmp(again.data(),
                                 want_a.data() + 170 * static_cast<std::size_t>(config.vocab_size),
                                 again.size() * sizeof(float)));
    }
}

// A whole turn later on another engine: the caller's pages are all there is to it.
TEST(CudaEngine, PagesAreAllThatATurnLeaves) {
    Rng rng(10);
    const ModelConfig config = random_config(rng);
    const std::vector<TokenId> text = random_tokens(rng, 130, config.vocab_size);
    Emulated first(config, 10), second(config, 10, {.major = 9});
    const Logits want = run_alone(*first.engine, text, 130);
    const Pages pages(first.engine->kv_layout(), 130);
    feed(*first.engine, pages, text, 0, 101);
    const Logits got = feed(*second.engine, pages, text, 101, 29);
    EXPECT_EQ(
        0, std::memcmp(got.data(), want.data() + 101 * static_cast<std::size_t>(config.vocab_size),
                       got.size() * sizeof(float)));
}

TEST(CudaEngine, ManySequencesAreCutIntoPassesThatFit) {
    Rng rng(12);
    ModelConfig config = random_config(rng);
    config.context_length = 128;
    const KvLayout kv = KvLayout::of(config);
    Emulated cuda(config, 12, {}, {.page_bytes_max = 5 * kv.page_bytes()});
    const auto vocab = static_cast<std::size_t>(config.vocab_size);
    std::vector<std::vector<TokenId>> texts;
    std::vector<Pages> pages;
    std::vector<Slice> batch;
    for (int i = 0; i < 4; ++i) {
        texts.push_back(random_tokens(rng, 70, config.vocab_size));
        pages.emplace_back(kv, 70);
    }
    for (std::size_t i = 0; i < texts.size(); ++i)
        batch.push_back({.pages = pages[i].span(), .start = 0, .tokens = texts[i]});
    Logits got(texts.size() * vocab);
    cuda.engine->step(batch, got);
    for (std::size_t i = 0; i < texts.size(); ++i) {
        const Logits want = run_alone(*cuda.engine, texts[i], 70);
        EXPECT_EQ(
            0, std::memcmp(got.data() + i * vocab, want.data() + 69 * vocab, vocab * sizeof(float)))
            << i;
    }
}

TEST(CudaEngine, SaysWhatDoesNotFit) {
    Rng rng(13);
    ModelConfig config = random_config(rng);
    config.context_length = 1024;
    const auto fail = [&](const EmulatedOptions& device, const CudaOptions& options) {
        ForwardEngine engine(
            random_checkpoint(config, 13),
            std::make_unique<CudaBackend>(std::make_unique<EmulatedMachine>(device), options));
        const Result<void> ready = engine.prepare();
        EXPECT_FALSE(ready.ok());
        return ready.ok() ? Error{} : ready.error();
    };
    const Error pages = fail({}, {.page_bytes_max = 3 * KvLayout::of(config).page_bytes()});
    EXPECT_EQ(pages.code, ErrorCode::kExhausted);
    EXPECT_NE(pages.message.find("192 tokens"), std::string::npos) << pages.message;
    const Error weights = fail({.memory_bytes = 1000}, {});
    EXPECT_EQ(weights.code, ErrorCode::kExhausted);
    EXPECT_NE(weights.message.find("weights"), std::string::npos) << weights.message;
}

TEST(CudaEngine, BackendsByName) {
    Rng rng(1);
    const ModelConfig config = random_config(rng);
    const auto cuda = cuda::make_cuda_machine();
    auto made = make_engine(random_checkpoint(config, 1), {.backend = "cuda"});
    auto best = make_engine(random_checkpoint(config, 1), {.backend = "auto", .threads = 1});
    ASSERT_TRUE(best.ok()) << best.error().message;
    if (cuda) {
        ASSERT_TRUE(made.ok()) << made.error().message;
        EXPECT_EQ((*best)->backend_name(), (*made)->backend_name());
        return;
    }
    ASSERT_FALSE(made.ok());
    EXPECT_EQ(made.error().code, ErrorCode::kUnsupported);
    EXPECT_EQ(made.error().message, "engine backend cuda: " + cuda.error().message);
    EXPECT_EQ((*best)->backend_name().substr(0, 4), "cpu-");
}

}  // namespace
}  // namespace hearth::engine::testing
