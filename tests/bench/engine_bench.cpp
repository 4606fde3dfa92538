// engine_bench: prefill and decode speed of the engine beside the machine's own measured limits.
// Without --model it runs a random model of SmolLM2-135M's shape: speed does not depend on values.
#include <algorithm>
#include <boost/json.hpp>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <map>
#include <optional>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "common/base/clock.h"
#include "engine/engine.h"
#include "engine/kernels/aligned.h"
#include "engine/kernels/cpu/cpu_backend.h"
#include "tests/bench/engine/random_shapes.h"

namespace hearth::engine {
namespace {

namespace json = boost::json;

constexpr const char* kUsage =
    "usage: hearth bench engine [--json] [--model PATH|135m|1.1b|tiny] [--threads N]\n"
    "    [--weights int8|int4] [--isa NAME] [--rounds N] [--context N] [--prefill LENGTHS]\n"
    "    [--decode BATCHES]\n"
    "LENGTHS and BATCHES are lists such as 512,4096; the three names are random models.\n";

struct Arguments {
    bool json = false;
    std::string model = "135m";
    EngineOptions engine = {.backend = "cpu", .isa = "auto", .threads = 1};
    int rounds = 5;
    std::int32_t context = 512;  // Of decode.
    std::vector<std::int32_t> prefill = {512, 4096}, decode = {1, 4, 16, 64};
};

// Runs work(part) for every part at once, part 0 here.
template <typename Work>
void in_threads(std::int32_t parts, const Work& work) {
    std::vector<std::jthread> threads;
    for (std::int32_t part = 1; part < parts; ++part) threads.emplace_back(work, part);
    work(0);
}

template <typename Work>
double seconds_of(const Work& work) {
    const Clock& clock = SystemClock::instance();
    const MonotonicNs start = clock.now();
    work();
    return std::max(1e-9, seconds(clock.now() - start));
}

// The machine's limits. Measured again between all other measurements and the best kept: what other
// programs take away, they take from both.
class Probes {
  public:
    explicit Probes(const EngineOptions& options) : options_(options) {
        memory_.resize(kReadBytes);
    }

    void measure() {
        std::vector<std::int64_t> done(static_cast<std::size_t>(options_.threads));
        const double products = seconds_of([&] {
            in_threads(options_.threads, [&](std::int32_t part) {
                done[static_cast<std::size_t>(part)] = probe_cpu_products(options_.isa, kRounds);
            });
        });
        double sum = 0.0;
        for (const std::int64_t part : done) sum += static_cast<double>(part);
        products_ = std::max(products_, sum / products);
        const double read = seconds_of(
            [&] { in_threads(options_.threads, [&](std::int32_t part) { read_part(part); }); });
        bytes_ = std::max(bytes_, static_cast<double>(kReadBytes) / read);
    }
    double products() const { return products_; }  // Multiply-adds per second.
    double bytes() const { return bytes_; }        // Per second.

  private:
    static constexpr std::size_t kReadBytes = std::size_t{256} << 20;
    static constexpr std::int32_t kRounds = 20000;

    // Looks for a byte that is not there (the C library uses the widest loads).
    void read_part(std::int32_t part) {
        const std::size_t size = kReadBytes / static_cast<std::size_t>(options_.threads);
        if (std::memchr(memory_.data() + static_cast<std::size_t>(part) * size, 1, size) != nullptr)
            std::abort();
    }

    const EngineOptions& options_;
    AlignedBuffer<char> memory_;
    double products_ = 0.0, bytes_ = 0.0;
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
        } else {
            return std::nullopt;
        }
    }
    return args;
}

using Table = std::map<std::int32_t, Measured>;

json::object tokens_per_s(const Table& table) {
    json::object out;
    for (const auto& [key, measured] : table) out[std::to_string(key)] = measured.tokens_per_s;
    return out;
}

void print_json(const Arguments& args, const Engine& engine, const Probes& probes,
                const Table& prefill, const Table& decode) {
    const json::object out = {{"model", engine.config().name},
                              {"threads", args.engine.threads},
                              {"isa", engine.backend_name()},
                              {"weights", args.engine.weights},
                              {"context", args.context},
                              {"prefill_tokens_per_s", tokens_per_s(prefill)},
                              {"decode_tokens_per_s", tokens_per_s(decode)},
                              {"peak_int8_tops", probes.products() * 2e-12},
                              {"peak_read_gb_per_s", probes.bytes() * 1e-9}};
    std::printf("%s\n", json::serialize(out).c_str());
}

void print_text(const Arguments& args, const Engine& engine, const Probes& probes,
                const Table& prefill, const Table& decode) {
    std::printf("model %s, %s weights, backend %s, %d thread(s)\n", engine.config().name.c_str(),
                args.engine.weights.c_str(), engine.backend_name().c_str(), args.engine.threads);
    std::printf("peak: %.3f int8 TOPS in registers, %.1f GB/s read\n", probes.products() * 2e-12,
                probes.bytes() * 1e-9);
    const auto row = [&](const char* what, std::int32_t key, const Measured& m) {
        std::printf("%s %5d  %9.1f tok/s  %5.1f %% of the TOPS  %5.1f %% of the GB/s\n", what, key,
                    m.tokens_per_s, 100.0 * m.products_per_s / probes.products(),
                    100.0 * m.bytes_per_s / probes.bytes());
    };
    for (const auto& [key, measured] : prefill) row("prefill     ", key, measured);
    for (const auto& [key, measured] : decode) row("decode batch", key, measured);
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
    Table prefill, decode;
    for (const std::int32_t tokens : args.prefill) prefill[tokens] = bench.prefill(tokens);
    for (const std::int32_t batch : args.decode) decode[batch] = bench.decode(batch);
    (args.json ? print_json : print_text)(args, **engine, bench.probes(), prefill, decode);
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
