// The int8 engine beside the float64 reference in tests/golden, on a small trained model.
#include <gtest/gtest.h>

#include <algorithm>
#include <boost/json.hpp>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "engine/engine.h"
#include "engine/kernels/cpu/cpu_backend.h"
#include "tests/engine/kernels/random_model.h"

namespace hearth::engine::testing {
namespace {

constexpr TokenId kBos = 1;

struct Golden {
    std::size_t window = 0;
    std::vector<TokenId> tokens;
    double perplexity = 0.0;
    std::vector<std::vector<double>> last_logits;  // After the last token of the first windows.
};

Golden read_golden() {
    std::ifstream file(HEARTH_SOURCE_DIR "/tests/golden/stories260k.json");
    std::stringstream text;
    text << file.rdbuf();
    const boost::json::value json = boost::json::parse(text.str());
    Golden out;
    out.window = json.at("window").to_number<std::size_t>();
    out.perplexity = json.at("perplexity").as_double();
    out.tokens = boost::json::value_to<std::vector<TokenId>>(json.at("tokens"));
    out.last_logits =
        boost::json::value_to<std::vector<std::vector<double>>>(json.at("last_logits"));
    return out;
}

double log_sum_exp(std::span<const float> row) {
    const double largest = *std::max_element(row.begin(), row.end());
    double sum = 0.0;
    for (const float x : row) sum += std::exp(x - largest);
    return largest + std::log(sum);
}

struct Measured {
    double perplexity = 0.0;
    double worst_correlation = 1.0;  // Of the golden rows of logits.
    std::vector<float> all;
};

double correlation(std::span<const float> a, const std::vector<double>& b) {
    double sa = 0, sb = 0, saa = 0, sbb = 0, sab = 0;
    const auto n = static_cast<double>(b.size());
    for (std::size_t i = 0; i < b.size(); ++i) {
        sa += a[i];
        sb += b[i];
        saa += double{a[i]} * a[i];
        sbb += b[i] * b[i];
        sab += a[i] * b[i];
    }
    return (n * sab - sa * sb) / std::sqrt((n * saa - sa * sa) * (n * sbb - sb * sb));
}

Measured measure(Engine& engine, const Golden& golden) {
    Measured out;
    const auto vocab = static_cast<std::size_t>(engine.config().vocab_size);
    double loss = 0.0;
    const std::span<const TokenId> tokens(golden.tokens);
    for (std::size_t at = 0, row = 0; at < tokens.size(); at += golden.window - 1, ++row) {
        const auto part = tokens.subspan(at, std::min(golden.window - 1, tokens.size() - at));
        std::vector<TokenId> window = {kBos};
        window.insert(window.end(), part.begin(), part.end());
        const Pages pages(engine.kv_layout(), static_cast<std::int32_t>(window.size()));
        std::vector<float> logits(window.size() * vocab);
        const Slice slice = {
            .pages = pages.span(), .start = 0, .tokens = window, .logits = Slice::Logits::kAll};
        engine.step({&slice, 1}, logits);
        for (std::size_t i = 0; i + 1 < window.size(); ++i) {
            const auto here = std::span<const float>(logits).subspan(i * vocab, vocab);
            loss += log_sum_exp(here) - here[static_cast<std::size_t>(window[i + 1])];
        }
        const auto last = std::span<const float>(logits).last(vocab);
        if (row < golden.last_logits.size())
            out.worst_correlation =
                std::min(out.worst_correlation, correlation(last, golden.last_logits[row]));
        out.all.insert(out.all.end(), logits.begin(), logits.end());
    }
    out.perplexity = std::exp(loss / static_cast<double>(tokens.size()));
    return out;
}

TEST(Golden, Int8PerplexityIsWithinOnePercentOfTheFloatReference) {
    const std::string path = HEARTH_SOURCE_DIR "/../shared/data/weights/stories260K-f32.gguf";
    if (!std::filesystem::exists(path)) GTEST_SKIP() << "skipped: " << path << " is absent";
    const Golden golden = read_golden();
    std::vector<float> first;
    std::vector<EngineOptions> all = {{.backend = "ref", .threads = 1}};
    for (const std::string& isa : usable_cpu_isas())
        all.push_back({.backend = "cpu", .isa = isa, .threads = 1});
    for (const EngineOptions& options : all) {
        auto checkpoint = load_checkpoint(path);
        ASSERT_TRUE(checkpoint.ok()) << checkpoint.error().message;
        const auto engine = engine_or_die(std::move(checkpoint).value(), options);
        SCOPED_TRACE(engine->backend_name());
        const Measured got = measure(*engine, golden);
        std::printf("%s: perplexity %.4f, float64 %.4f (%+.2f %%), worst correlation %.5f\n",
                    engine->backend_name().c_str(), got.perplexity, golden.perplexity,
                    100.0 * (got.perplexity / golden.perplexity - 1.0), got.worst_correlation);
        EXPECT_NEAR(got.perplexity / golden.perplexity, 1.0, 0.01);
        EXPECT_GT(got.worst_correlation, 0.999);
        if (options.backend != "cpu") continue;
        if (first.empty()) first = got.all;
        EXPECT_EQ(got.all, first);
    }
}

}  // namespace
}  // namespace hearth::engine::testing
