// Clock: time as a parameter. SystemClock in production, ManualClock in tests (tests never sleep).
#pragma once

#include <atomic>
#include <cstdint>

namespace hearth {

using MonotonicNs = std::int64_t;  // Nanoseconds of a clock that never goes back.
using UnixMs = std::int64_t;       // Milliseconds since 1970-01-01 UTC.

constexpr MonotonicNs kMs = 1'000'000;
constexpr MonotonicNs kSecond = 1'000'000'000;

inline double seconds(MonotonicNs duration) {
    return static_cast<double>(duration) * 1e-9;
}

class Clock {
  public:
    virtual ~Clock() = default;
    virtual MonotonicNs now() const = 0;
    virtual UnixMs unix_now() const = 0;
};

inline double unix_seconds(const Clock& clock) {
    return static_cast<double>(clock.unix_now()) / 1e3;
}

// Any thread.
class SystemClock final : public Clock {
  public:
    MonotonicNs now() const override;
    UnixMs unix_now() const override;
    // As of the kernel's last tick, up to 10 ms ago: a fifth of the cost, for what is asked often
    // and need not be exact.
    MonotonicNs coarse_now() const;
    UnixMs coarse_unix_now() const;
    static const SystemClock& instance();
};

// Any thread may read or advance.
class ManualClock final : public Clock {
  public:
    explicit ManualClock(MonotonicNs start = kSecond) : now_(start) {}
    MonotonicNs now() const override { return now_.load(); }
    UnixMs unix_now() const override { return now_.load() / kMs; }
    void advance(MonotonicNs by) { now_.fetch_add(by); }

  private:
    std::atomic<MonotonicNs> now_;
};

}  // namespace hearth
