// figures.h: what the GPU benchmarks print: a line for each figure, its floor, and whether it
// holds.
#pragma once

#include <algorithm>
#include <cstdio>
#include <functional>
#include <string>
#include <vector>

#include "common/base/check.h"
#include "engine/kernels/cuda/machine.h"

namespace hearth::engine::bench {

// Four digits of a number.
inline std::string digits(double value) {
    char text[32];
    std::snprintf(text, sizeof text, "%.4g", value);
    return text;
}

struct Figure {
    std::string name;
    double value = 0.0;
    std::string unit;
    double floor = 0.0;    // 0 = none.
    bool at_most = false;  // The floor is a ceiling.
    std::string note = {};
    bool passed() const { return floor == 0.0 || (at_most ? value <= floor : value >= floor); }
};

// How large everything is: as the issue of this backend states it, or so small that an emulated
// device goes through all of it.
struct Sizes {
    std::size_t copy_bytes = std::size_t{4} << 30;
    std::vector<std::int32_t> cubes = {4096, 8192};
    std::int32_t narrow = 8192, narrow_matrices = 5;
    std::int32_t attend_context = 16384, attend_batch = 64, heads = 32, kv_heads = 8,
                 head_dim = 128;
    std::int32_t prefill_rows = 512, prefill_context = 8192;
    bool large_models = true;
    std::int32_t decode_context = 4096, decode_batch = 64, history = 8192;
    std::int32_t prompts = 200, prompt_tokens = 64, reply_tokens = 64;
    int repeats = 20;
    std::string weights = {};  // A GGUF file for texts; empty = a random model.

    static Sizes tiny() {
        Sizes s;
        s.copy_bytes = 1 << 16;
        s.cubes = {128};
        s.narrow = 128, s.narrow_matrices = 2;
        s.attend_context = 130, s.attend_batch = 2, s.heads = 4, s.kv_heads = 2, s.head_dim = 64;
        s.prefill_rows = 20, s.prefill_context = 100;
        s.large_models = false;
        s.decode_context = 70, s.decode_batch = 2, s.history = 130;
        s.prompts = 3, s.prompt_tokens = 8, s.reply_tokens = 6;
        s.repeats = 2;
        return s;
    }
};

// What the device was measured to do at best, which shares are of.
struct Ceilings {
    double copy_gb = 0.0;    // Device to device, bytes read and written.
    double pinned_gb = 0.0;  // Pinned host to device.
};

// Median milliseconds of `work`, by events, after three runs that do not count. `between` runs
// before each, outside of the time.
inline double median_ms(cuda::Machine& machine, int repeats, const std::function<void(int)>& work) {
    const int from = machine.new_event(), to = machine.new_event();
    std::vector<double> times;
    for (int i = -3; i < repeats; ++i) {
        machine.record(from, cuda::Stream::kCompute);
        work(i + 3);
        machine.record(to, cuda::Stream::kCompute);
        const Result<void> done = machine.finish();
        CHECK_MSG(done.ok(), done.ok() ? "" : done.error().message);
        if (i >= 0) times.push_back(machine.milliseconds(from, to));
    }
    std::sort(times.begin(), times.end());
    return times[times.size() / 2];
}

using MakeMachine = std::function<std::unique_ptr<cuda::Machine>()>;

Ceilings measure_copies(const MakeMachine& make, const Sizes& sizes, std::vector<Figure>& out);
void measure_products(const MakeMachine& make, const Sizes& sizes, const Ceilings& ceilings,
                      std::vector<Figure>& out);
void measure_attention(const MakeMachine& make, const Sizes& sizes, const Ceilings& ceilings,
                       std::vector<Figure>& out);
void measure_engine(const MakeMachine& make, const Sizes& sizes, const Ceilings& ceilings,
                    std::vector<Figure>& out);
void compare_text(const MakeMachine& make, const Sizes& sizes, std::vector<Figure>& out);

}  // namespace hearth::engine::bench
