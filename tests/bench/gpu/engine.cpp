// Whole models: decode steps, restores, the first token of a turn whose history is on the host, and
// greedy text beside the CPU's.
#include <cmath>

#include "common/base/clock.h"
#include "engine/kernels/cuda/decode_loop.h"
#include "tests/bench/gpu/figures.h"
#include "tests/bench/gpu/models.h"

namespace hearth::engine::bench {
namespace {

using cuda::DecodeLoop;

// Milliseconds of a decode step of `batch` rows at `context`, steps overlapping.
double decode_ms(GpuEngine& gpu, const HostPages& host, std::int32_t batch, std::int32_t context,
                 int steps) {
    const std::int32_t pages = pages_for(context + 64);
    DecodeLoop loop(*gpu.engine, *gpu.backend);
    std::vector<DecodeLoop::Row> rows;
    for (std::int32_t i = 0; i < batch; ++i)
        rows.push_back({.pages = host.span(i * pages, pages), .position = context, .token = 1 + i});
    std::int64_t begun = 0;
    int launched = 0, collected = 0;
    const Clock& clock = SystemClock::instance();
    while (collected < steps + 4) {
        while (loop.under_way() < 2 && launched < steps + 4) {
            loop.launch(rows);
            ++launched;
            for (std::int32_t i = 0; i < batch; ++i) {
                rows[static_cast<std::size_t>(i)].previous = i;
                ++rows[static_cast<std::size_t>(i)].position;
            }
        }
        loop.collect();
        if (++collected == 4) begun = clock.now();  // Restored, recorded, warm.
    }
    return seconds(clock.now() - begun) * 1e3 / steps;
}

void measure_restores(const MakeMachine& make, const ModelShape& shape, const Sizes& s,
                      const Ceilings& ceilings, std::vector<Figure>& out) {
    for (const bool by_kernel : {false, true}) {
        GpuEngine gpu(make(), random_llama(shape, 1), {.copy_kernel = by_kernel});
        cuda::Machine& machine = gpu.backend->machine();
        const KvLayout kv = gpu.engine->kv_layout();
        const std::int32_t tokens = 32, pages = pages_for(s.history + tokens);
        const HostPages host(machine, kv, pages);
        const std::vector<TokenId> text(static_cast<std::size_t>(tokens), 1);
        std::vector<float> logits(static_cast<std::size_t>(shape.vocab));
        const Slice slice = {.pages = host.span(0, pages), .start = s.history, .tokens = text};
        const Clock& clock = SystemClock::instance();
        const auto step_ms = [&](bool from_host) {
            std::vector<double> times;
            for (int i = 0; i < std::max(2, s.repeats / 2); ++i) {
                for (std::byte* page : slice.pages)
                    if (from_host) gpu.engine->page_changed(page);
                const MonotonicNs begun = clock.now();
                gpu.engine->step({&slice, 1}, logits);
                times.push_back(seconds(clock.now() - begun) * 1e3);
            }
            std::sort(times.begin(), times.end());
            return times[times.size() / 2];
        };
        const double warm = step_ms(false), cold = step_ms(true);
        const auto bytes = static_cast<double>(gpu.backend->figures().restored_bytes);
        const double copy_ms = bytes / 1e6 / ceilings.pinned_gb;
        // By itself: all pieces of the history, bank by bank.
        std::vector<cuda::PageCopy> copies;
        const auto device = machine.allocate(kv.page_bytes() * static_cast<std::size_t>(pages),
                                             cuda::Use::kActivations);
        CHECK_MSG(device.ok(), device.ok() ? "" : device.error().message);
        for (std::int32_t i = 0; i < pages; ++i)
            copies.push_back({device->get() + static_cast<std::size_t>(i) * kv.page_bytes(),
                              host.span(i, 1)[0]});
        std::vector<std::int32_t> order;
        for (std::int32_t bank = 0; bank < kv.banks; ++bank) order.push_back(bank);
        const cuda::CopyPlan plan = cuda::plan_copies(copies, kv, order);
        cuda::PieceCopier copier;
        const double ms = median_ms(machine, s.repeats, [&](int) {
            if (by_kernel) {
                copier.copy(machine, plan.pieces, cuda::Stream::kCompute);
            } else {
                machine.copy_batch(plan.pieces, cuda::Stream::kCompute);
            }
        });
        const double gb =
            static_cast<double>(kv.page_bytes()) * static_cast<double>(pages) / ms / 1e6;
        const std::string how = by_kernel ? "copy kernel" : "batch of copies";
        // The faster way is what the floor is for.
        out.push_back({"restore by " + how + ", share of pinned copy", gb / ceilings.pinned_gb, "",
                       by_kernel ? 0.0 : 0.85, false, digits(gb) + " GB/s"});
        const double decode = decode_ms(gpu, host, 1, s.history - 64, 8);
        out.push_back({"turn with history on host by " + how + ", steps beside its copy",
                       (cold - copy_ms) / decode, "steps", by_kernel ? 0.0 : 2.0, true,
                       digits(cold) + " ms; with history there " + digits(warm)});
    }
}

}  // namespace

void measure_engine(const MakeMachine& make, const Sizes& s, const Ceilings& ceilings,
                    std::vector<Figure>& out) {
    const std::int32_t context = std::max({s.decode_context, s.history, 512}) + 256;
    const ModelShape tiny{2, 64, 128, 4, 2, 64, 96, context};
    const ModelShape one{16, 2048, 8192, 32, 8, 64, 128256, context};
    const ModelShape eight{32, 4096, 14336, 32, 8, 128, 128256, context};
    {
        GpuEngine gpu(make(), random_llama(s.large_models ? one : tiny, 2), {});
        const HostPages host(gpu.backend->machine(), gpu.engine->kv_layout(), pages_for(300));
        const double ms = decode_ms(gpu, host, 1, 128, 8 * s.repeats);
        out.push_back({"1B model, batch 1, a step", ms, "ms", 0.5, true});
    }
    {
        const ModelShape shape = s.large_models ? eight : tiny;
        GpuEngine gpu(make(), random_llama(shape, 3), {});
        const KvLayout kv = gpu.engine->kv_layout();
        const std::int32_t pages = pages_for(s.decode_context + 64) * s.decode_batch;
        const HostPages host(gpu.backend->machine(), kv, pages);
        const double ms =
            decode_ms(gpu, host, s.decode_batch, s.decode_context, std::min(40, 2 * s.repeats));
        const auto& figures = gpu.backend->figures();
        const auto bytes = static_cast<double>(figures.weight_bytes + figures.kv_bytes);
        const double bound = bytes / 1e6 / ceilings.copy_gb;
        out.push_back(
            {"8B model, batch 64, context 4k, share of roofline", bound / ms, "", 0.7, false,
             digits(ms) + " ms a step, " + digits(s.decode_batch / ms * 1e3) + " tokens/s"});
    }
    measure_restores(make, s.large_models ? eight : tiny, s, ceilings, out);
}

namespace {

// The trained model of `weights`, or a random one: that one's next tokens are near ties, so that
// its texts part where a trained one's do not.
Checkpoint text_model(const std::string& weights) {
    if (weights.empty()) return random_llama({4, 256, 512, 8, 2, 64, 512, 512}, 5);
    auto loaded = load_checkpoint(weights);
    CHECK_MSG(loaded.ok(), loaded.ok() ? "" : loaded.error().message);
    return std::move(loaded).value();
}

// Continues `text` to `length` tokens; each is what `choose` makes of the logits.
template <class Choose>
void write_on(Engine& engine, std::span<std::byte* const> pages, std::vector<TokenId>& text,
              std::int32_t length, const Choose& choose) {
    for (std::byte* page : pages) engine.page_changed(page);
    std::vector<float> logits(static_cast<std::size_t>(engine.config().vocab_size));
    std::int32_t done = 0;
    while (static_cast<std::int32_t>(text.size()) < length) {
        const Slice slice = {.pages = pages,
                             .start = done,
                             .tokens = std::span(text).subspan(static_cast<std::size_t>(done))};
        engine.step({&slice, 1}, logits);
        done = static_cast<std::int32_t>(text.size());
        text.push_back(choose(logits));
    }
}

TokenId likeliest(const std::vector<float>& logits) {
    return static_cast<TokenId>(std::max_element(logits.begin(), logits.end()) - logits.begin());
}

// By its probability (Gumbel's way).
TokenId drawn(const std::vector<float>& logits, Rng& rng) {
    std::vector<float> noisy = logits;
    for (float& x : noisy)
        x -= std::log(-std::log(static_cast<float>(rng.below(1u << 24) + 1) / 16777217.0f));
    return likeliest(noisy);
}

}  // namespace

void compare_text(const MakeMachine& make, const Sizes& s, std::vector<Figure>& out) {
    GpuEngine gpu(make(), text_model(s.weights), {});
    auto cpu = make_engine(text_model(s.weights), {.backend = "cpu"});
    CHECK_MSG(cpu.ok(), cpu.ok() ? "" : cpu.error().message);
    const std::int32_t length = s.prompt_tokens + s.reply_tokens, pages = pages_for(length);
    const HostPages host(gpu.backend->machine(), gpu.engine->kv_layout(), 2 * pages);
    Rng rng(6);
    std::vector<std::int32_t> parted;  // At which token of the reply; reply_tokens = nowhere.
    std::string differing;
    for (std::int32_t i = 0; i < s.prompts; ++i) {
        std::vector<TokenId> by_cpu = {1};  // Llama's first token.
        write_on(**cpu, host.span(pages, pages), by_cpu, s.prompt_tokens,
                 [&](const auto& logits) { return drawn(logits, rng); });
        std::vector<TokenId> by_gpu = by_cpu;
        write_on(**cpu, host.span(pages, pages), by_cpu, length, likeliest);
        write_on(*gpu.engine, host.span(0, pages), by_gpu, length, likeliest);
        const auto parts = std::mismatch(by_cpu.begin(), by_cpu.end(), by_gpu.begin()).first;
        parted.push_back(static_cast<std::int32_t>(parts - by_cpu.begin()) - s.prompt_tokens);
        if (parts != by_cpu.end())
            differing += " " + std::to_string(i) + " at " + std::to_string(parted.back());
    }
    const std::string model = s.weights.empty() ? "random model" : "stories260K";
    const auto add = [&](std::int32_t tokens, double floor, const std::string& note) {
        const auto same = std::count_if(parted.begin(), parted.end(),
                                        [&](std::int32_t at) { return at >= tokens; });
        out.push_back({"greedy replies equal to the CPU's for " + std::to_string(tokens) +
                           " tokens, " + model,
                       static_cast<double>(same) / s.prompts, "", floor, false, note});
    };
    add(s.reply_tokens / 2, 0.95, "");
    add(s.reply_tokens, 0.0, differing.empty() ? "all" : "not" + differing);
}

}  // namespace hearth::engine::bench
