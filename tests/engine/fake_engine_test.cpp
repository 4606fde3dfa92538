// The fake engine: its logits depend on every byte slot of every page, and on nothing else.
#include "engine/fake_engine.h"

#include <gtest/gtest.h>

#include <cstring>

#include "tests/engine/kernels/random_model.h"

namespace hearth::engine::testing {
namespace {

std::vector<float> last_logits(Engine& engine, const Pages& pages, std::int32_t start,
                               std::span<const TokenId> tokens) {
    std::vector<float> out(static_cast<std::size_t>(engine.config().vocab_size));
    const Slice slice = {.pages = pages.span(), .start = start, .tokens = tokens};
    engine.step({&slice, 1}, out);
    return out;
}

TEST(FakeEngine, ChunksAndReusedPagesChangeNothing) {
    Rng rng(1);
    const auto engine = make_fake_engine(random_config(rng));
    const std::vector<TokenId> text = random_tokens(rng, 200, engine->config().vocab_size);
    const std::span<const TokenId> tokens(text);
    const Pages whole(engine->kv_layout(), 200), parts(engine->kv_layout(), 200);
    const auto want = last_logits(*engine, whole, 0, tokens);
    last_logits(*engine, parts, 0, tokens.first(70));
    EXPECT_EQ(last_logits(*engine, parts, 70, tokens.subspan(70)), want);
    for (const float x : want) EXPECT_TRUE(x >= -8.0f && x < 8.0f);
}

TEST(FakeEngine, AnyDamagedSlotIsSeen) {
    Rng rng(2);
    const auto engine = make_fake_engine(random_config(rng));
    const std::vector<TokenId> text = random_tokens(rng, 130, engine->config().vocab_size);
    const std::span<const TokenId> tokens(text);
    const Pages pages(engine->kv_layout(), 130);
    const auto want = last_logits(*engine, pages, 0, tokens);
    const std::size_t head_bytes = engine->kv_layout().head_bytes();
    for (std::size_t page = 0; page < 3; ++page) {
        for (std::size_t at = 0; at < engine->kv_layout().page_bytes(); at += head_bytes) {
            std::byte& damaged = pages.span()[page][at + 5];  // A slot of the page's first token.
            damaged ^= std::byte{1};
            EXPECT_NE(last_logits(*engine, pages, 129, tokens.last(1)), want) << page << " " << at;
            damaged ^= std::byte{1};
        }
    }
    EXPECT_EQ(last_logits(*engine, pages, 129, tokens.last(1)), want);
}

TEST(FakeEngine, SameTokensAfterAnotherPastAreAnotherPage) {
    Rng rng(3);
    const auto engine = make_fake_engine(random_config(rng));
    std::vector<TokenId> text = random_tokens(rng, 100, engine->config().vocab_size);
    const Pages a(engine->kv_layout(), 100), b(engine->kv_layout(), 100);
    last_logits(*engine, a, 0, text);
    text[3] = (text[3] + 1) % engine->config().vocab_size;
    last_logits(*engine, b, 0, text);
    EXPECT_NE(std::memcmp(a.span()[1], b.span()[1], 8), 0);
}

}  // namespace
}  // namespace hearth::engine::testing
