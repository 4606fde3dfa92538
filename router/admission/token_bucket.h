// TokenBucket: a rate limit that lets a burst through, and may go into debt for what was estimated.
#pragma once

#include <algorithm>

#include "common/base/clock.h"

namespace hearth {

// Pure: time is an argument and never goes back. Invariant: level <= capacity. A rate of 0 means
// no limit.
class TokenBucket {
  public:
    TokenBucket(double per_second, double capacity, MonotonicNs now)
        : rate_(per_second), capacity_(capacity), level_(capacity), at_(now) {}

    bool limited() const { return rate_ > 0; }
    double capacity() const { return capacity_; }

    // What is there at `now`; below 0 while a debt is paid off.
    double level(MonotonicNs now) {
        level_ = std::min(capacity_, level_ + rate_ * seconds(now - at_));
        at_ = now;
        return level_;
    }
    // Whether `cost` may be taken. What costs more than a full bucket waits for a full one, and
    // leaves a debt.
    bool holds(double cost, MonotonicNs now) {
        return !limited() || level(now) >= std::min(cost, capacity_) - kSlack;
    }
    void take(double cost, MonotonicNs now) {
        if (limited()) level_ = std::min(capacity_, level(now) - cost);
    }
    // Seconds until holds(cost).
    double wait_for(double cost, MonotonicNs now) {
        return holds(cost, now) ? 0 : (std::min(cost, capacity_) - level_) / rate_;
    }
    // Seconds until the bucket is full.
    double wait_for_all(MonotonicNs now) {
        return limited() ? (capacity_ - level(now)) / rate_ : 0;
    }

  private:
    static constexpr double kSlack = 1e-6;  // Of sums of fractions.

    double rate_;
    double capacity_;
    double level_;
    MonotonicNs at_;
};

}  // namespace hearth
