// HitHistory: what the fleet found again and missed, over the last hour; for the console.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <map>
#include <string>

#include "common/wire/records.h"
#include "router/members/membership.h"

namespace hearth {

// Tokens of all nodes within one interval.
struct HitSample {
    std::int64_t at_ms = 0;  // Unix time of its end.
    std::int64_t reused = 0, reusable = 0;
    std::array<std::int64_t, kMissReasonNames.size()> missed{};

    // Of the reusable ones, what an infinite cache that never fails would have given.
    std::int64_t ceiling() const;
};

// One thread. Works on the counters that nodes publish, so every router shows the same fleet.
class HitHistory {
  public:
    static constexpr std::int64_t kIntervalMs = 10'000;
    static constexpr std::size_t kSamplesMax = 360;

    // Call it often; takes a sample once an interval has passed. The first call only learns where
    // the counters stand.
    void note(const Members& members, std::int64_t now_ms);
    const std::deque<HitSample>& samples() const { return samples_; }

  private:
    struct Counters {
        std::string generation;  // Another one counts from 0.
        HitSample totals;
    };
    std::map<std::string, Counters> seen_;
    std::deque<HitSample> samples_;  // Oldest first.
    std::int64_t last_ms_ = 0;
};

}  // namespace hearth
