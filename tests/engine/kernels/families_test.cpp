// Every model family beside a float64 reference that knows it from the papers only: files as the
// family's look, float to rounding, int8 on every backend to int8's error, and no part without use.
#include <gtest/gtest.h>
#include <sys/wait.h>

#include <boost/json.hpp>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "engine/kernels/cpu/cpu_backend.h"
#include "engine/kernels/ref/float_model.h"
#include "tests/engine/formats/scratch_folder.h"
#include "tests/engine/kernels/random_model.h"

namespace hearth::engine::testing {
namespace {

// Errors are root mean squares, relative to the spread of the golden logits.
constexpr double kFloatError = 1e-5;
constexpr double kInt8Error = 0.06;  // Of tiny random models; trained ones are far milder.
constexpr double kMutantError = 0.09;

struct Golden {
    std::vector<TokenId> tokens;
    std::vector<double> logits;
};

std::vector<double> flattened(const boost::json::value& rows) {
    std::vector<double> out;
    for (const boost::json::value& row : rows.as_array())
        for (const boost::json::value& x : row.as_array()) out.push_back(x.to_number<double>());
    return out;
}

double error_of(std::span<const float> got, const std::vector<double>& want) {
    double squares = 0.0, sum = 0.0, spread = 0.0;
    for (const double x : want) sum += x;
    const double mean = sum / static_cast<double>(want.size());
    for (std::size_t i = 0; i < want.size(); ++i) {
        squares += (got[i] - want[i]) * (got[i] - want[i]);
        spread += (want[i] - mean) * (want[i] - mean);
    }
    return std::sqrt(squares / spread);
}

double float_error(Checkpoint checkpoint, const Golden& golden) {
    FloatModel model(std::move(checkpoint), 1);
    return error_of(model.logits(golden.tokens), golden.logits);
}

double engine_error(Checkpoint checkpoint, const EngineOptions& options, const Golden& golden) {
    const auto engine = engine_or_die(std::move(checkpoint), options);
    const Pages pages(engine->kv_layout(), static_cast<std::int32_t>(golden.tokens.size()));
    std::vector<float> logits(golden.logits.size());
    const Slice slice = {
        .pages = pages.span(), .start = 0, .tokens = golden.tokens, .logits = Slice::Logits::kAll};
    engine->step({&slice, 1}, logits);
    return error_of(logits, golden.logits);
}

class Families : public ::testing::TestWithParam<const char*> {
  protected:
    // Has the reference write the family's files; false if it cannot run here.
    bool write() {
        const std::string command =
            std::string(HEARTH_PYTHON3) + " -B " HEARTH_SOURCE_DIR "/tests/golden/families.py " +
            GetParam() + " " + folder_.file("") + " > " + folder_.file("log") + " 2>&1";
        const int status = std::system(command.c_str());
        std::stringstream log;
        log << std::ifstream(folder_.file("log")).rdbuf();
        log_ = log.str();
        const bool skipped = WIFEXITED(status) && WEXITSTATUS(status) == 77;
        EXPECT_TRUE(status == 0 || skipped) << log_;
        return status == 0;
    }

    bool has_gguf() const { return std::filesystem::exists(folder_.file("model.gguf")); }

    Golden golden(const char* key) const {
        std::stringstream text;
        text << std::ifstream(folder_.file("golden.json")).rdbuf();
        const boost::json::value json = boost::json::parse(text.str());
        return {boost::json::value_to<std::vector<TokenId>>(json.at("tokens")),
                flattened(json.at(key))};
    }

    Checkpoint load(const char* file) const {
        auto loaded = load_checkpoint(folder_.file(file), {.keep_floats = true});
        EXPECT_TRUE(loaded.ok()) << (loaded.ok() ? "" : loaded.error().message);
        return std::move(loaded).value();
    }

    void expect_agreement(const char* file, const char* key) const {
        SCOPED_TRACE(file);
        const Golden want = golden(key);
        const double exact = float_error(load(file), want);
        EXPECT_LT(exact, kFloatError);
        std::printf("%s %s: float %.1e", GetParam(), file, exact);
        std::vector<EngineOptions> all = {{.backend = "ref", .threads = 1}};
        for (const std::string& isa : usable_cpu_isas())
            all.push_back({.backend = "cpu", .isa = isa, .threads = 1});
        for (const EngineOptions& options : all) {
            const double error = engine_error(load(file), options, want);
            EXPECT_LT(error, kInt8Error) << options.backend << " " << options.isa;
            std::printf(", %s %.2f %%", options.backend.c_str(), 100.0 * error);
        }
        std::printf("\n");
    }

    ScratchFolder folder_;
    std::string log_;
};

TEST_P(Families, AgreeWithTheFloatReference) {
    if (!write()) GTEST_SKIP() << log_;
    expect_agreement("hf", "logits");
    if (has_gguf()) expect_agreement("model.gguf", "gguf_logits");
}

// The parts of a family that a wrong engine could leave out, each taken away.
std::vector<std::pair<std::string, ModelConfig>> mutants_of(const ModelConfig& config) {
    std::vector<std::pair<std::string, ModelConfig>> out;
    const auto add = [&](bool has, const std::string& name, const auto& change) {
        if (!has) return;
        out.emplace_back(name, config);
        change(out.back().second);
    };
    using C = ModelConfig;
    const bool windows = std::any_of(config.layers.begin(), config.layers.end(),
                                     [](const LayerShape& layer) { return layer.window > 0; });
    add(config.qk_norm, "no QK norm", [](C& c) { c.qk_norm = false; });
    add(config.post_norms, "no post norms", [](C& c) { c.post_norms = false; });
    add(config.qkv_bias, "no bias", [](C& c) { c.qkv_bias = false; });
    add(config.activation == Activation::kGelu, "SiLU for GELU",
        [](C& c) { c.activation = Activation::kSilu; });
    add(config.attention_softcap > 0.0f, "no cap of scores",
        [](C& c) { c.attention_softcap = 0.0f; });
    add(config.logit_softcap > 0.0f, "no cap of logits", [](C& c) { c.logit_softcap = 0.0f; });
    add(windows, "no windows", [](C& c) {
        for (LayerShape& layer : c.layers) layer.window = 0;
    });
    add(config.local_rope_theta > 0.0f, "one RoPE for all layers", [](C& c) {
        for (LayerShape& layer : c.layers) layer.local_rope = false;
    });
    add(!config.rope_freq_factors.empty(), "no RoPE factors",
        [](C& c) { c.rope_freq_factors.clear(); });
    add(config.rope_scaling.factor != 1.0f, "no Llama 3 scaling",
        [](C& c) { c.rope_scaling.factor = 1.0f; });
    add(config.rope_magnitude != 1.0f, "no LongRoPE magnitude",
        [](C& c) { c.rope_magnitude = 1.0f; });
    add(true, "the other pairs of RoPE", [](C& c) {
        c.rope_style =
            c.rope_style == RopeStyle::kHalves ? RopeStyle::kInterleaved : RopeStyle::kHalves;
    });
    return out;
}

// Weights that the changed config has no place for.
void drop_weights(const ModelConfig& config, Weights& weights) {
    for (LayerWeights& layer : weights.layers) {
        if (!config.qk_norm) layer.q_norm = layer.k_norm = {};
        if (!config.post_norms) layer.post_attention_norm = layer.post_ffn_norm = {};
        if (!config.qkv_bias) layer.bq = layer.bk = layer.bv = {};
    }
}

// Proof that the test above would see each part missing.
TEST_P(Families, NoPartCanBeLeftOut) {
    if (!write()) GTEST_SKIP() << log_;
    const Golden want = golden("logits");
    for (auto& [name, config] : mutants_of(load("hf").config)) {
        Checkpoint mutant = load("hf");
        mutant.config = config;
        drop_weights(config, mutant.weights);
        const double error = engine_error(std::move(mutant), {.threads = 1}, want);
        EXPECT_GT(error, kMutantError) << name;
        std::printf("%s, %s: %.0f %%\n", GetParam(), name.c_str(), 100.0 * error);
    }
}

INSTANTIATE_TEST_SUITE_P(Golden, Families,
                         ::testing::Values("llama2", "llama3", "llama-linear", "smollm2", "mistral",
                                           "qwen2", "qwen3", "gemma2", "gemma3", "phi3"),
                         [](const auto& tested) {
                             std::string name = tested.param;
                             std::erase(name, '-');
                             return name;
                         });

}  // namespace
}  // namespace hearth::engine::testing
