// engine_bench: prefill and decode speed of the engine beside the machine's own measured limits.
// Without --model it runs a random model of SmolLM2-135M's shape: speed does not depend on values.
#include <algorithm>
#include <boost/json.hpp>
#include <cstdio>
#include <cstdlib>
#include <limits>
#include <map>
#include <optional>
#include <sstream>
#include <string>
#include <vector>

#include "engine/engine.h"
#include "engine/kernels/aligned.h"
#include "tests/bench/engine/gemm.h"
#include "tests/bench/engine/probes.h"
#include "tests/bench/engine/random_shapes.h"

namespace hearth::engine {
namespace {

namespace json = boost::json;
using bench::Probes;
using bench::seconds_of;

constexpr const char* kUsage =
    "usage: hearth bench engine [--json] [--model PATH|135m|1.1b|tiny] [--threads N]\n"
    "    [--weights int8|int4] [--isa NAME] [--rounds N] [--context N] [--prefill LENGTHS]\n"
    "    [--decode BATCHES] [--gemm ROWS]\n"
    "LENGTHS, BATCHES and ROWS are lists such as 512,4096, or 0 for none; the three names are\n"
    "random models. gemm: the layers' matrix products alone, so many tokens at a time.\n";

struct Arguments {
    bool json = false;
    std::string model = "135m";
    EngineOptions engine = {.backend = "cpu", .isa = "auto", .threads = 1};
    int rounds = 5;
    std::int32_t context = 512;  // Of decode.
    std::vector<std::int32_t> prefill = {512, 4096}, decode = {1, 4, 16, 64}, gemm = {16, 512};
};

// Weights that every token multiplies with, and those of the output layer.
struct Size {
    double layers = 0.0, head = 0.0;
};
Size size_of(const ModelConfig& c) {
    Size size;
    for (const LayerShape& layer : c.layers) {
        const double q = c.heads * c.head_dim;
        const double kv = layer.writes_kv ? 2.0 * c.kv_heads * c.head_dim : 0.0;
        size.layers += c.hidden * (2.0 * q + kv + 3.0 * c.ffn_hidden);
    }
    size.head = static_cast<double>(c.hidden) * c.vocab_size;
    return size;
}

struct Measured {
    double tokens_per_s = 0.0;
    double products_per_s = 0.0;  // Of weights; attention's are not counted.
    double bytes_per_s = 0.0;     // Of weights and KV.
};

class Bench {
  public:
    Bench(const Arguments& args, Engine& engine)
        : args_(args), engine_(engine), probes_(args.engine), size_(size_of(engine.config())) {}

    Measured prefill(std::int32_t tokens) {
        make_sequences(1, tokens);
        const double time = best_seconds(0, tokens);
        const double used = size_.layers * tokens + size_.head;
        return {tokens / time, used / time, (weight_bytes() + size_.head) / time};
    }

    Measured decode(std::int32_t batch) {
        make_sequences(batch, args_.context + 1);
        step(0, args_.context);
        const double time = best_seconds(args_.context, 1);
        const double kv = engine_.kv_layout().bytes_per_token() * args_.context * batch;
        return {batch / time, (size_.layers + size_.head) * batch / time,
                (weight_bytes() + size_.head + kv) / time};
    }

    // Of nothing but products; weights are read once.
    Measured gemm(bench::GemmBench& gemm, std::int32_t rows) {
        const double products = gemm.products_per_s(rows, args_.rounds, probes_);
        return {products / size_.layers, products, products / size_.layers / rows * weight_bytes()};
    }

    const Probes& probes() const { return probes_; }

  private:
    // int4 takes four bits and, for 32 weights, two bytes; the output layer stays int8.
    double weight_bytes() const {
        return size_.layers * (args_.engine.weights == "int4" ? 0.5625 : 1.0);
    }

    // The best: other programs on the machine only ever make a run slower.
    double best_seconds(std::int32_t start, std::int32_t tokens) {
        double best = std::numeric_limits<double>::infinity();
        for (int i = 0; i < args_.rounds; ++i) {
            probes_.measure();
            for (int again = 0; again < (tokens == 1 ? 4 : 1); ++again)
                best = std::min(best, seconds_of([&] { step(start, tokens); }));
        }
        return best;
    }

    void make_sequences(std::int32_t count, std::int32_t tokens) {
        const auto pages = static_cast<std::size_t>((tokens + kPageTokens - 1) / kPageTokens);
        pages_.assign(static_cast<std::size_t>(count), {});
        memory_.resize(static_cast<std::size_t>(count) * pages * engine_.kv_layout().page_bytes());
        std::byte* next = memory_.data();
        for (std::vector<std::byte*>& sequence : pages_) {
            for (std::size_t i = 0; i < pages; ++i, next += engine_.kv_layout().page_bytes())
                sequence.push_back(next);
        }
        const auto vocab = static_cast<std::size_t>(engine_.config().vocab_size);
        logits_.resize(static_cast<std::size_t>(count) * vocab);
    }

    void step(std::int32_t start, std::int32_t tokens) {
        std::vector<TokenId> text(static_cast<std::size_t>(tokens));
        for (std::size_t i = 0; i < text.size(); ++i)
            text[i] = static_cast<TokenId>(i * 7 % 1000) % engine_.config().vocab_size;
        std::vector<Slice> batch;
        for (const std::vector<std::byte*>& sequence : pages_)
            batch.push_back({.pages = sequence, .start = start, .tokens = text});
        engine_.step(batch, logits_);
    }

    const Arguments& args_;
    Engine& engine_;
    Probes probes_;
    Size size_;
    AlignedBuffer<std::byte> memory_;
    std::vector<std::vector<std::byte*>> pages_;
    std::vector<float> logits_;
};

std::vector<std::int32_t> numbers(const std::string& list) {
    std::vector<std::int32_t> out;
    std::istringstream in(list);
    for (std::string word; std::getline(in, word, ',');)
        if (const int n = std::atoi(word.c_str()); n > 0) out.push_back(n);
    return out;
}

std::optional<Arguments> parse(int argc, char** argv) {
    Arguments args;
    for (int i = 1; i < argc; ++i) {
        const std::string name = argv[i];
        if (name == "--json") {
            args.json = true;
            continue;
        }
        if (++i >= argc) return std::nullopt;
        const std::string value = argv[i];
        const int number = std::max(1, std::atoi(value.c_str()));
        if (name == "--model") {
            args.model = value;
        } else if (name == "--isa") {
            args.engine.isa = value;
        } else if (name == "--weights") {
            args.engine.weights = value;
        } else if (name == "--threads") {
            args.engine.threads = number;
        } else if (name == "--rounds") {
            args.rounds = number;
        } else if (name == "--context") {
            args.context = number;
        } else if (name == "--prefill") {
            args.prefill = numbers(value);
        } else if (name == "--decode") {
            args.decode = numbers(value);
        } else if (name == "--gemm") {
            args.gemm = numbers(value);
        } else {
            return std::nullopt;
        }
    }
    return args;
}

using Table = std::map<std::int32_t, Measured>;

struct Tables {
    Table prefill, decode, gemm;
};

json::object tokens_per_s(const Table& table) {
    json::object out;
    for (const auto& [key, measured] : table) out[std::to_string(key)] = measured.tokens_per_s;
    return out;
}

void print_json(const Arguments& args, const Engine& engine, const Probes& probes,
                const Tables& tables) {
    json::object gemm;
    for (const auto& [rows, m] : tables.gemm)
        gemm[std::to_string(rows)] = m.products_per_s / probes.products();
    const json::object out = {{"model", engine.config().name},
                              {"threads", args.engine.threads},
                              {"isa", engine.backend_name()},
                              {"weights", args.engine.weights},
                              {"context", args.context},
                              {"prefill_tokens_per_s", tokens_per_s(tables.prefill)},
                              {"decode_tokens_per_s", tokens_per_s(tables.decode)},
                              {"gemm_share_of_peak", std::move(gemm)},
                              {"peak_int8_tops", probes.products() * 2e-12},
                              {"peak_read_gb_per_s", probes.bytes() * 1e-9}};
    std::printf("%s\n", json::serialize(out).c_str());
}

void print_text(const Arguments& args, const Engine& engine, const Probes& probes,
                const Tables& tables) {
    std::printf("model %s, %s weights, backend %s, %d thread(s)\n", engine.config().name.c_str(),
                args.engine.weights.c_str(), engine.backend_name().c_str(), args.engine.threads);
    std::printf("peak: %.3f int8 TOPS in registers, %.1f GB/s read\n", probes.products() * 2e-12,
                probes.bytes() * 1e-9);
    const auto row = [&](const char* what, std::int32_t key, const Measured& m) {
        std::printf("%s %5d  %9.1f tok/s  %5.1f %% of the TOPS  %5.1f %% of the GB/s\n", what, key,
                    m.tokens_per_s, 100.0 * m.products_per_s / probes.products(),
                    100.0 * m.bytes_per_s / probes.bytes());
    };
    for (const auto& [key, measured] : tables.prefill) row("prefill     ", key, measured);
    for (const auto& [key, measured] : tables.decode) row("decode batch", key, measured);
    for (const auto& [key, measured] : tables.gemm) row("GEMM rows   ", key, measured);
}

int fail(const std::string& message) {
    std::fprintf(stderr, "hearth bench engine: %s\n", message.c_str());
    return 1;
}

int run(const Arguments& args) {
    Result<Checkpoint> checkpoint = bench::random_shape(args.model);
    if (!checkpoint) checkpoint = load_checkpoint(args.model);
    if (!checkpoint) return fail(checkpoint.error().message);
    std::int32_t longest = args.decode.empty() ? 0 : args.context + 1;
    for (const std::int32_t tokens : args.prefill) longest = std::max(longest, tokens);
    if (longest > checkpoint->config.context_length)
        return fail("the model's context is " + std::to_string(checkpoint->config.context_length) +
                    " tokens; --context and --prefill must fit");
    auto engine = make_engine(std::move(checkpoint).value(), args.engine);
    if (!engine) return fail(engine.error().message);
    Bench bench(args, **engine);
    Tables tables;
    for (const std::int32_t tokens : args.prefill) tables.prefill[tokens] = bench.prefill(tokens);
    for (const std::int32_t batch : args.decode) tables.decode[batch] = bench.decode(batch);
    if (!args.gemm.empty()) {
        bench::GemmBench gemm((*engine)->config(), args.engine);
        for (const std::int32_t rows : args.gemm) tables.gemm[rows] = bench.gemm(gemm, rows);
    }
    (args.json ? print_json : print_text)(args, **engine, bench.probes(), tables);
    return 0;
}

}  // namespace
}  // namespace hearth::engine

int main(int argc, char** argv) {
    const auto args = hearth::engine::parse(argc, argv);
    if (args) return hearth::engine::run(*args);
    std::fputs(hearth::engine::kUsage, stderr);
    return 2;
}
