// engine_bench: prefill and decode speed of the engine beside the machine's own measured limits.
// Usage: engine_bench [--model PATH] [--isa NAME] [--threads N] [--rounds N]
// Without --model it runs a random model of SmolLM2-135M's shape: speed does not depend on values.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <string>
#include <thread>
#include <vector>

#include "common/base/clock.h"
#include "common/base/rng.h"
#include "engine/engine.h"
#include "engine/kernels/aligned.h"
#include "engine/kernels/cpu/cpu_backend.h"

namespace hearth::engine {
namespace {

struct Arguments {
    std::string model;
    EngineOptions engine = {.backend = "cpu", .isa = "auto", .threads = 1};
    int rounds = 5;
};

// The best of `rounds`: other programs on the machine only ever make a run slower.
template <typename Work>
double best_seconds(int rounds, const Work& work) {
    const Clock& clock = SystemClock::instance();
    double best = std::numeric_limits<double>::infinity();
    for (int i = 0; i < rounds; ++i) {
        const MonotonicNs start = clock.now();
        work();
        best = std::min(best, seconds(clock.now() - start));
    }
    return best;
}

QuantMatrix random_matrix(Rng& rng, std::int32_t rows, std::int32_t cols) {
    QuantMatrix m{rows, cols, {}, std::vector<float>(static_cast<std::size_t>(rows), 1e-3f)};
    m.q.resize(static_cast<std::size_t>(rows) * static_cast<std::size_t>(cols));
    for (std::int8_t& q : m.q) q = static_cast<std::int8_t>(static_cast<int>(rng.below(255)) - 127);
    return m;
}

Checkpoint smollm2_shape() {
    Checkpoint out;
    ModelConfig& c = out.config;
    c.name = "random, shape of SmolLM2-135M";
    c.vocab_size = 49152;
    c.hidden = 576;
    c.ffn_hidden = 1536;
    c.heads = 9;
    c.kv_heads = 3;
    c.head_dim = c.rope_dim = 64;
    c.context_length = 8192;
    c.tied_embeddings = true;
    Rng rng(1);
    for (std::int32_t i = 0; i < 30; ++i) {
        c.layers.push_back({.kv_bank = c.kv_banks++});
        LayerWeights w;
        w.attention_norm.assign(576, 1.0f);
        w.ffn_norm.assign(576, 1.0f);
        w.wq = random_matrix(rng, 576, 576);
        w.wk = random_matrix(rng, 192, 576);
        w.wv = random_matrix(rng, 192, 576);
        w.wo = random_matrix(rng, 576, 576);
        w.gate = random_matrix(rng, 1536, 576);
        w.up = random_matrix(rng, 1536, 576);
        w.down = random_matrix(rng, 576, 1536);
        out.weights.layers.push_back(std::move(w));
    }
    out.weights.embedding = random_matrix(rng, 49152, 576);
    out.weights.final_norm.assign(576, 1.0f);
    return out;
}

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

// Looks through 512 MiB for a byte that is not there, every thread its own part: what one pass over
// the weights could reach (the C library uses the widest loads).
double read_bytes_per_second(const Arguments& args) {
    const std::size_t bytes = 512u << 20;
    AlignedBuffer<char> memory;
    memory.resize(bytes);
    const auto parts = static_cast<std::size_t>(args.engine.threads);
    const auto read = [&](std::size_t part) {
        if (std::memchr(memory.data() + part * (bytes / parts), 1, bytes / parts) != nullptr)
            std::abort();
    };
    const double time = best_seconds(args.rounds, [&] {
        std::vector<std::jthread> threads;
        for (std::size_t part = 1; part < parts; ++part) threads.emplace_back(read, part);
        read(0);
    });
    return static_cast<double>(bytes) / time;
}

// Int8 multiply-adds per second of a product whose operands stay in the first-level cache.
double products_per_second(const Arguments& args) {
    auto backend = make_cpu_backend(args.engine.isa, args.engine.threads);
    if (!backend) return 0.0;
    constexpr std::int32_t kRows = 96, kCols = 256;
    const std::int32_t channels = 64 * args.engine.threads;  // One panel for each thread.
    Rng rng(1);
    QuantMatrix w = random_matrix(rng, channels, kCols);
    QuantMatrix* const parts[] = {&w};
    const auto packed = (*backend)->pack(parts);
    AlignedBuffer<std::int8_t> q;
    q.resize(kRows * kCols);
    std::vector<float> scale(kRows, 1.0f);
    std::vector<std::int32_t> sum(kRows);
    AlignedBuffer<float> out;
    out.resize(static_cast<std::size_t>(kRows * channels));
    const QuantRows x = {q.data(), scale.data(), sum.data(), kCols};
    const double time = best_seconds(args.rounds * 20, [&] {
        for (int i = 0; i < 100; ++i)
            (*backend)->matmul(x, kRows, *packed, {out.data(), channels, channels, nullptr, false});
    });
    return 100.0 * kRows * kCols * channels / time;
}

class Bench {
  public:
    Bench(const Arguments& args, Engine& engine)
        : args_(args), engine_(engine), size_(size_of(engine.config())) {}

    void prefill(std::int32_t tokens, double products) {
        make_sequences(1, tokens);
        const double time = best_seconds(args_.rounds, [&] { step(0, tokens); });
        const double used = size_.layers * tokens + size_.head;
        std::printf("prefill %5d         %9.1f tok/s  %6.2f Gmac/s  %5.1f %% of peak\n", tokens,
                    tokens / time, used / time * 1e-9, 100.0 * used / time / products);
    }

    void decode(std::int32_t batch, std::int32_t context, double bytes) {
        make_sequences(batch, context + 1);
        step(0, context);
        const double time = best_seconds(args_.rounds * 4, [&] { step(context, 1); });
        const double kv = engine_.kv_layout().bytes_per_token() * context * batch;
        const double used = size_.layers + size_.head + kv;
        std::printf("decode %2d at %5d    %9.1f tok/s  %6.2f GB/s    %5.1f %% of read bandwidth\n",
                    batch, context, batch / time, used / time * 1e-9, 100.0 * used / time / bytes);
    }

  private:
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
    Size size_;
    AlignedBuffer<std::byte> memory_;
    std::vector<std::vector<std::byte*>> pages_;
    std::vector<float> logits_;
};

Arguments parse(int argc, char** argv) {
    Arguments args;
    for (int i = 1; i + 1 < argc; i += 2) {
        const std::string name = argv[i];
        if (name == "--model") args.model = argv[i + 1];
        if (name == "--isa") args.engine.isa = argv[i + 1];
        if (name == "--threads") args.engine.threads = std::max(1, std::atoi(argv[i + 1]));
        if (name == "--rounds") args.rounds = std::max(1, std::atoi(argv[i + 1]));
    }
    return args;
}

int run(const Arguments& args) {
    Checkpoint checkpoint;
    if (args.model.empty()) {
        checkpoint = smollm2_shape();
    } else {
        auto loaded = load_checkpoint(args.model);
        if (!loaded) {
            std::fprintf(stderr, "%s\n", loaded.error().message.c_str());
            return 1;
        }
        checkpoint = std::move(loaded).value();
    }
    auto engine = make_engine(std::move(checkpoint), args.engine);
    if (!engine) {
        std::fprintf(stderr, "%s\n", engine.error().message.c_str());
        return 1;
    }
    const double products = products_per_second(args);
    const double bytes = read_bytes_per_second(args);
    std::printf("model %s, backend %s, %d thread(s)\n", (*engine)->config().name.c_str(),
                (*engine)->backend_name().c_str(), args.engine.threads);
    std::printf("limits: %.1f int8 Gmac/s in the first-level cache, %.1f GB/s read\n",
                products * 1e-9, bytes * 1e-9);
    Bench bench(args, **engine);
    for (const std::int32_t tokens : {64, 512, 2048}) bench.prefill(tokens, products);
    for (const std::int32_t batch : {1, 4, 16}) bench.decode(batch, 512, bytes);
    bench.decode(1, 4096, bytes);
    return 0;
}

}  // namespace
}  // namespace hearth::engine

int main(int argc, char** argv) {
    return hearth::engine::run(hearth::engine::parse(argc, argv));
}
