// Probes: each kind of work on all threads at once.
#include "tests/bench/engine/probes.h"

#include <cstdlib>
#include <cstring>

#include "engine/kernels/cpu/cpu_backend.h"

namespace hearth::engine::bench {
namespace {

constexpr std::size_t kReadBytes = std::size_t{256} << 20;
constexpr std::int32_t kRounds = 20000;

// Runs work(part) for every part at once, part 0 here.
template <typename Work>
void in_threads(std::int32_t parts, const Work& work) {
    std::vector<std::jthread> threads;
    for (std::int32_t part = 1; part < parts; ++part) threads.emplace_back(work, part);
    work(0);
}

}  // namespace

Probes::Probes(const EngineOptions& options) : options_(options) {
    memory_.resize(kReadBytes);
}

void Probes::measure() {
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

// Looks for a byte that is not there (the C library uses the widest loads).
void Probes::read_part(std::int32_t part) const {
    const std::size_t size = kReadBytes / static_cast<std::size_t>(options_.threads);
    if (std::memchr(memory_.data() + static_cast<std::size_t>(part) * size, 1, size) != nullptr)
        std::abort();
}

}  // namespace hearth::engine::bench
