// int4: groups expand within int8, exactly where sixteen steps suffice, with little error
// elsewhere.
#include "engine/kernels/int4.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <iostream>
#include <random>

#include "engine/kernels/cpu/cpu_backend.h"
#include "tests/engine/kernels/random_model.h"

namespace hearth::engine::testing {
namespace {

using Group = std::array<std::int8_t, kInt4Group>;

void expect_in_range(const Int4Group& fit) {
    EXPECT_GE(fit.base, -127);
    EXPECT_LE(Int4Group::value_of(fit.base, fit.step, 15), 127);
    for (const std::uint8_t nibble : fit.nibbles) EXPECT_LE(nibble, 15);
}

TEST(Int4, GridsOfSixteenStepsAreExact) {
    for (int step = 1; step <= 15; ++step) {
        for (int base = -127; base + 15 * step <= 127; base += 7) {
            Group q;
            for (std::size_t i = 0; i < q.size(); ++i)
                q[i] = static_cast<std::int8_t>(base + step * static_cast<int>(i % 16));
            const Int4Group fit = fit_int4(q);
            expect_in_range(fit);
            for (std::size_t i = 0; i < q.size(); ++i) ASSERT_EQ(fit.value(i), q[i]) << step;
        }
    }
}

TEST(Int4, ConstantsAndExtremes) {
    for (const int value : {-127, -1, 0, 1, 112, 127}) {
        Group q;
        q.fill(static_cast<std::int8_t>(value));
        const Int4Group fit = fit_int4(q);
        expect_in_range(fit);
        for (std::size_t i = 0; i < q.size(); ++i) EXPECT_EQ(fit.value(i), value);
    }
    Group both;
    both.fill(-127);
    both[3] = 127;
    const Int4Group fit = fit_int4(both);
    expect_in_range(fit);
    // Fifteen steps of 255 / 16 are 239: what lies beyond is clipped.
    EXPECT_LE(fit.value(0) + 127 + 127 - fit.value(3), 254 - 239);
    EXPECT_EQ(fit.value(0), -127);  // The many count for more than the one.
}

// Rounding to sixteen even steps over the range costs a step's square by twelve; the search must
// not do worse, and what four bits can at best do is not far below.
TEST(Int4, ErrorIsAtMostThatOfPlainRounding) {
    const std::uint64_t seed = std::random_device{}();
    std::cout << "seed " << seed << "\n";
    Rng rng(seed);
    double ours = 0.0, plain = 0.0;
    for (int round = 0; round < 500; ++round) {
        Group q;
        for (std::int8_t& v : q)
            v = static_cast<std::int8_t>(std::clamp(normal(rng) * 40.0f, -127.0f, 127.0f));
        const Int4Group fit = fit_int4(q);
        expect_in_range(fit);
        const auto [low, high] = std::minmax_element(q.begin(), q.end());
        const double step = (*high - *low) / 15.0;
        for (std::size_t i = 0; i < q.size(); ++i) {
            ours += std::pow(fit.value(i) - q[i], 2);
            const double rounded = *low + step * std::nearbyint((q[i] - *low) / step);
            plain += std::pow(rounded - q[i], 2);
        }
    }
    EXPECT_LT(ours, plain);
    EXPECT_GT(ours, plain / 3);
}

// The file's own four bits: sixteen even levels a group, with float steps of any size.
TEST(Int4, LevelsOfAFileSurviveToARounding) {
    Rng rng(6);
    for (int round = 0; round < 300; ++round) {
        const double step = 2.0 + 13.0 * rng.uniform();
        const double base = -127.0 + (254.0 - 15.0 * step) * rng.uniform();
        Group q;
        for (std::size_t i = 0; i < q.size(); ++i)
            q[i] =
                static_cast<std::int8_t>(std::nearbyint(base + step * static_cast<double>(i % 16)));
        const Int4Group fit = fit_int4(q);
        for (std::size_t i = 0; i < q.size(); ++i) ASSERT_LE(std::abs(fit.value(i) - q[i]), 1);
    }
}

std::vector<float> logits_of(const ModelConfig& config, const EngineOptions& options,
                             const std::vector<TokenId>& tokens, std::size_t cut) {
    const auto engine = engine_or_die(random_checkpoint(config, 5), options);
    const Pages pages(engine->kv_layout(), static_cast<std::int32_t>(tokens.size()));
    std::vector<float> out(tokens.size() * static_cast<std::size_t>(config.vocab_size));
    const std::span<const TokenId> all(tokens);
    const auto logits = Slice::Logits::kAll;
    const Slice first = {pages.span(), 0, all.first(cut), logits};
    const Slice rest = {pages.span(), static_cast<std::int32_t>(cut), all.subspan(cut), logits};
    const std::size_t at = cut * static_cast<std::size_t>(config.vocab_size);
    engine->step({&first, 1}, std::span(out).first(at));
    engine->step({&rest, 1}, std::span(out).subspan(at));
    return out;
}

// The promises of int8 hold for int4: the same bits however a prompt is cut and on every ISA.
TEST(Int4, EnginesAgree) {
    Rng rng(11);
    const ModelConfig config = random_config(rng);
    const std::vector<TokenId> tokens = random_tokens(rng, 90, config.vocab_size);
    const auto first =
        logits_of(config, {.backend = "cpu", .isa = "generic", .weights = "int4", .threads = 1},
                  tokens, 90 / 2);
    for (const std::string& isa : usable_cpu_isas()) {
        EXPECT_EQ(first, logits_of(config, {"cpu", isa, "int4", 2}, tokens, 7)) << isa;
        EXPECT_NE(first, logits_of(config, {"cpu", isa, "int8", 2}, tokens, 7)) << isa;
    }
    const auto ref = logits_of(config, {"ref", "auto", "int4", 1}, tokens, 7);
    double squares = 0.0, size = 0.0;
    for (std::size_t i = 0; i < ref.size(); ++i) {
        squares += std::pow(double{first[i]} - ref[i], 2);
        size += std::pow(ref[i], 2);
    }
    EXPECT_LT(std::sqrt(squares / size), 0.01);
    const auto unknown = make_engine(random_checkpoint(config, 5), {.weights = "int3"});
    ASSERT_FALSE(unknown.ok());
    EXPECT_NE(unknown.error().message.find("'int3': must be int8 or int4"), std::string::npos);
}

}  // namespace
}  // namespace hearth::engine::testing
