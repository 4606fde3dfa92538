// Probes: the machine's own limits, products in registers and bytes read, as yardsticks.
#pragma once

#include <algorithm>
#include <cstdint>
#include <thread>
#include <vector>

#include "common/base/clock.h"
#include "engine/engine.h"
#include "engine/kernels/aligned.h"

namespace hearth::engine::bench {

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
    // With that instruction set and so many threads at once. `options` outlives this.
    explicit Probes(const EngineOptions& options);

    void measure();
    double products() const { return products_; }  // Multiply-adds per second.
    double bytes() const { return bytes_; }        // Per second.

  private:
    void read_part(std::int32_t part) const;

    const EngineOptions& options_;
    AlignedBuffer<char> memory_;
    double products_ = 0.0, bytes_ = 0.0;
};

}  // namespace hearth::engine::bench
