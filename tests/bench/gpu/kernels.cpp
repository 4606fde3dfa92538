// Copies, matrix products and attention by themselves, beside what the device can do.
#include "engine/kernels/cuda/kernel_list.h"
#include "tests/bench/gpu/figures.h"
#include "tests/bench/gpu/models.h"

namespace hearth::engine::bench {
namespace {

// Dense rates of the chip by its datasheet, in operations a second; shares of them are said to be.
constexpr double kByteRate = 1979e12, kHalfRate = 989e12;

std::shared_ptr<std::byte> take(cuda::Machine& machine, std::size_t bytes) {
    auto made = machine.allocate(bytes, cuda::Use::kActivations);
    CHECK_MSG(made.ok(), made.ok() ? "" : made.error().message);
    return std::move(made).value();
}

// Rows of random int8 and their scales, on the device.
struct DeviceRows {
    DeviceRows(cuda::Machine& machine, std::int32_t rows, std::int32_t width) {
        Rng rng(2);
        std::vector<std::int8_t> q(static_cast<std::size_t>(rows) *
                                   static_cast<std::size_t>(width));
        for (std::int8_t& v : q)
            v = static_cast<std::int8_t>(static_cast<int>(rng.below(255)) - 127);
        const std::vector<float> scales(static_cast<std::size_t>(rows), 0.01f);
        bytes = take(machine, q.size());
        scale = take(machine, scales.size() * sizeof(float));
        machine.copy(bytes.get(), q.data(), q.size(), cuda::Stream::kCompute);
        machine.copy(scale.get(), scales.data(), scales.size() * sizeof(float),
                     cuda::Stream::kCompute);
        CHECK(machine.finish().ok());
        view = {reinterpret_cast<std::int8_t*>(bytes.get()), reinterpret_cast<float*>(scale.get()),
                nullptr, width};
    }
    std::shared_ptr<std::byte> bytes, scale;
    QuantRows view;
};

std::vector<std::unique_ptr<PackedMatrix>> matrices(cuda::CudaBackend& backend, std::int32_t count,
                                                    std::int32_t size) {
    std::vector<std::unique_ptr<PackedMatrix>> out;
    for (std::int32_t i = 0; i < count; ++i) {
        Checkpoint one =
            random_llama({0, size, 4, 1, 1, 4, size, 64}, 3u + static_cast<unsigned>(i));
        QuantMatrix* const parts[] = {&one.weights.embedding};
        out.push_back(backend.pack(parts));
    }
    return out;
}

}  // namespace

Ceilings measure_copies(const MakeMachine& make, const Sizes& sizes, std::vector<Figure>& out) {
    const std::unique_ptr<cuda::Machine> machine = make();
    Ceilings ceilings;
    const std::size_t bytes = sizes.copy_bytes;
    const auto a = take(*machine, bytes), b = take(*machine, bytes);
    const auto pinned = std::move(machine->allocate_pinned(bytes)).value();
    std::memset(pinned.get(), 0x5b, bytes);
    const double gb = static_cast<double>(bytes) / 1e6;  // Of a millisecond.
    ceilings.pinned_gb = gb / median_ms(*machine, sizes.repeats, [&](int) {
                             machine->copy(a.get(), pinned.get(), bytes, cuda::Stream::kCompute);
                         });
    ceilings.copy_gb = 2 * gb / median_ms(*machine, sizes.repeats, [&](int) {
                           machine->copy(b.get(), a.get(), bytes, cuda::Stream::kCompute);
                       });
    out.push_back({"device copy, read and written", ceilings.copy_gb, "GB/s"});
    out.push_back({"pinned host to device", ceilings.pinned_gb, "GB/s"});
    return ceilings;
}

void measure_products(const MakeMachine& make, const Sizes& sizes, const Ceilings& ceilings,
                      std::vector<Figure>& out) {
    cuda::CudaBackend backend(make(), {.threads = 16});
    cuda::Machine& machine = backend.machine();
    for (const std::int32_t n : sizes.cubes) {
        const auto w = matrices(backend, 1, n);
        const DeviceRows x(machine, n, n);
        const auto result =
            take(machine, static_cast<std::size_t>(n) * static_cast<std::size_t>(n) * 2);
        cuda::Gemms gemms;
        const double ms = median_ms(machine, sizes.repeats, [&](int) {
            gemms.run_bfloat16(machine, x.view, n, static_cast<const cuda::CudaMatrix&>(*w[0]),
                               reinterpret_cast<std::uint16_t*>(result.get()), n);
        });
        const double tops = 2.0 * n * n * n / ms / 1e9;
        out.push_back(
            {"int8 product " + std::to_string(n) + " cubed, to bf16", tops, "TOPS", 1100.0});
    }
    const auto w = matrices(backend, sizes.narrow_matrices, sizes.narrow);
    for (const std::int32_t tokens : {1, 8, 16, 32, 64}) {
        const DeviceRows x(machine, tokens, sizes.narrow);
        const auto result =
            take(machine, static_cast<std::size_t>(tokens) *
                              static_cast<std::size_t>(sizes.narrow) * sizeof(float));
        const double ms = median_ms(machine, sizes.repeats, [&](int i) {
            // In turn, so that the second-level cache does not have them.
            const auto& matrix = *w[static_cast<std::size_t>(i) % w.size()];
            backend.matmul(x.view, tokens, matrix,
                           {reinterpret_cast<float*>(result.get()), sizes.narrow, sizes.narrow,
                            nullptr, false});
        });
        const double gb = static_cast<double>(sizes.narrow) * sizes.narrow / ms / 1e6;
        out.push_back({"int8 product of " + std::to_string(tokens) + " tokens, share of copy",
                       gb / ceilings.copy_gb, "", 0.8, false, digits(gb) + " GB/s"});
    }
}

namespace {

// One layer's attention for rows at the ends of contexts.
void attend(const MakeMachine& make, const Sizes& s, std::int32_t context, std::int32_t batch,
            std::int32_t rows, const std::function<void(double ms, double keys)>& done) {
    cuda::CudaBackend backend(make(), {.graphs = false});
    cuda::Machine& machine = backend.machine();
    const ModelConfig config =
        config_of({1, 64, 64, s.heads, s.kv_heads, s.head_dim, 64, std::max(64, context)});
    const Result<void> ready = backend.prepare(config, 512);
    CHECK_MSG(ready.ok(), ready.ok() ? "" : ready.error().message);
    const KvLayout kv = KvLayout::of(config);
    const std::int32_t pages = pages_for(context);
    const HostPages host(machine, kv, pages * batch);
    std::vector<RowRun> runs;
    for (std::int32_t i = 0; i < batch; ++i)
        runs.push_back({i * rows, rows, context - rows, host.span(i * pages, pages).data()});
    const std::vector<TokenId> tokens(static_cast<std::size_t>(batch * rows));
    const std::int32_t width = s.heads * s.head_dim;
    const DeviceRows q(machine, batch * rows * s.heads, s.head_dim);
    const auto result = take(machine, static_cast<std::size_t>(batch * rows) *
                                          static_cast<std::size_t>(width) * sizeof(float));
    AttentionCall call{.kv = kv, .heads = s.heads, .runs = runs};
    backend.begin_pass({runs, tokens, {}});
    const QuantHeads heads{q.view.q, q.view.scale, nullptr};
    const double ms = median_ms(machine, s.repeats, [&](int) {
        backend.attend(call, heads, reinterpret_cast<float*>(result.get()), width);
    });
    backend.end_pass(nullptr);
    double keys = 0.0;
    for (std::int32_t i = 0; i < rows; ++i) keys += batch * (context - i);
    done(ms, keys);
}

}  // namespace

void measure_attention(const MakeMachine& make, const Sizes& s, const Ceilings& ceilings,
                       std::vector<Figure>& out) {
    attend(make, s, s.attend_context, s.attend_batch, 1, [&](double ms, double keys) {
        const double gb = keys * s.kv_heads * 2 * (s.head_dim + 4) / ms / 1e6;
        out.push_back({"decode attention, share of copy", gb / ceilings.copy_gb, "", 0.75, false,
                       digits(gb) + " GB/s"});
    });
    attend(make, s, s.prefill_context, 1, s.prefill_rows, [&](double ms, double keys) {
        const double products = 2.0 * keys * s.heads * s.head_dim;
        const double bound_ms = (products / kByteRate + 2 * products / kHalfRate) * 1e3;
        out.push_back({"prefill attention, share of the datasheet's int8 and half", bound_ms / ms,
                       "", 0.6, false, digits(3 * products / ms / 1e9) + " TOPS"});
    });
}

}  // namespace hearth::engine::bench
