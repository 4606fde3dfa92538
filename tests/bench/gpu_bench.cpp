// gpu_bench: figures of the CUDA backend beside their floors; a table in Markdown. With --emulated
// everything is gone through on an emulated device at small sizes: then only that it runs means
// anything. With --texts N only texts are compared, so many of full length, on either device.
#include <cstdio>
#include <cstdlib>
#include <string>

#include "tests/bench/gpu/figures.h"
#include "tests/engine/kernels/cuda/emulated_machine.h"

namespace hearth::engine {
namespace {

constexpr int kNoDevice = 3;

std::unique_ptr<cuda::Machine> device_or_die() {
    auto made = cuda::make_cuda_machine();
    CHECK_MSG(made.ok(), made.ok() ? "" : made.error().message);
    return std::move(made).value();
}

int print(const std::vector<bench::Figure>& figures, bool with_floors) {
    std::printf("| what | measured | floor | |\n| --- | --- | --- | --- |\n");
    int failed = 0;
    for (const bench::Figure& f : figures) {
        const bool counts = with_floors && f.floor != 0.0;
        if (counts && !f.passed()) ++failed;
        const std::string value = f.unit.empty() ? bench::digits(100.0 * f.value) + " %"
                                                 : bench::digits(f.value) + " " + f.unit;
        char floor[64] = "";
        if (f.floor != 0.0)
            std::snprintf(floor, sizeof floor, "%s %g%s", f.at_most ? "at most" : "at least",
                          f.unit.empty() ? 100.0 * f.floor : f.floor, f.unit.empty() ? " %" : "");
        std::printf("| %s%s%s | %s | %s | %s |\n", f.name.c_str(), f.note.empty() ? "" : ": ",
                    f.note.c_str(), value.c_str(), floor,
                    !counts      ? ""
                    : f.passed() ? "pass"
                                 : "**fail**");
    }
    std::printf("\n%d of the floors failed\n", failed);
    return failed == 0 ? 0 : 1;
}

int run(bool emulated, int texts, const std::string& weights) {
    bench::Sizes sizes;
    bench::MakeMachine make = device_or_die;
    if (emulated) {
        if (texts == 0) sizes = bench::Sizes::tiny();
        make = [] {
            return std::make_unique<cuda::EmulatedMachine>(cuda::EmulatedOptions{.major = 9});
        };
        std::printf("on an emulated device: times mean nothing\n\n");
    } else if (const auto machine = cuda::make_cuda_machine(); !machine) {
        std::fprintf(stderr, "skipped: no CUDA device (%s)\n", machine.error().message.c_str());
        return kNoDevice;
    } else {
        const cuda::Device& d = (*machine)->device();
        std::printf("%s, compute capability %d.%d, %d multiprocessors, %zu MiB\n\n", d.name.c_str(),
                    d.major, d.minor, d.multiprocessors, d.memory_bytes >> 20);
    }
    if (texts > 0) sizes.prompts = texts;
    sizes.weights = weights;
    std::vector<bench::Figure> figures;
    bench::compare_text(make, sizes, figures);
    if (texts > 0) return print(figures, true);
    const bench::Ceilings ceilings = bench::measure_copies(make, sizes, figures);
    bench::measure_products(make, sizes, ceilings, figures);
    bench::measure_attention(make, sizes, ceilings, figures);
    bench::measure_engine(make, sizes, ceilings, figures);
    if (!emulated) return print(figures, true);
    print(figures, false);
    return 0;
}

}  // namespace
}  // namespace hearth::engine

int main(int count, char** words) {
    bool emulated = false;
    int texts = 0;
    std::string weights;
    for (int i = 1; i < count; ++i) {
        const std::string word = words[i];
        const bool has_value = i + 1 < count;
        if (word == "--emulated") {
            emulated = true;
        } else if (word == "--texts" && has_value) {
            texts = std::atoi(words[++i]);
        } else if (word == "--weights" && has_value) {
            weights = words[++i];
        } else {
            std::fprintf(stderr, "usage: gpu_bench [--emulated] [--texts N] [--weights GGUF]\n");
            return 2;
        }
    }
    return hearth::engine::run(emulated, texts, weights);
}
