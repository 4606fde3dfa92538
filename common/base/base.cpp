// The out-of-line parts of common/base: error names, CHECK's last words, the real clock.
#include <time.h>

#include <cstdio>
#include <cstdlib>
#include <string>

#include "common/base/check.h"
#include "common/base/clock.h"
#include "common/base/result.h"

namespace hearth {

const char* to_string(ErrorCode code) {
    switch (code) {
        case ErrorCode::kInvalidArgument: return "invalid_argument";
        case ErrorCode::kNotFound: return "not_found";
        case ErrorCode::kCorrupt: return "corrupt";
        case ErrorCode::kUnsupported: return "unsupported";
        case ErrorCode::kTooLarge: return "too_large";
        case ErrorCode::kTimeout: return "timeout";
        case ErrorCode::kUnavailable: return "unavailable";
        case ErrorCode::kCancelled: return "cancelled";
        case ErrorCode::kExhausted: return "exhausted";
    }
    return "unknown";
}

void check_failed(const char* file, int line, const char* condition, std::string_view detail) {
    std::fprintf(stderr, "CHECK failed: %s at %s:%d%s%.*s\n", condition, file, line,
                 detail.empty() ? "" : ": ", static_cast<int>(detail.size()), detail.data());
    std::abort();
}

namespace {

MonotonicNs monotonic(clockid_t clock) {
    timespec t{};
    ::clock_gettime(clock, &t);
    return t.tv_sec * kSecond + t.tv_nsec;
}

UnixMs since_1970(clockid_t clock) {
    timespec t{};
    ::clock_gettime(clock, &t);
    return t.tv_sec * 1000 + t.tv_nsec / kMs;
}

}  // namespace

MonotonicNs SystemClock::now() const {
    return monotonic(CLOCK_MONOTONIC);
}
MonotonicNs SystemClock::coarse_now() const {
    return monotonic(CLOCK_MONOTONIC_COARSE);
}
UnixMs SystemClock::unix_now() const {
    return since_1970(CLOCK_REALTIME);
}
UnixMs SystemClock::coarse_unix_now() const {
    return since_1970(CLOCK_REALTIME_COARSE);
}

const SystemClock& SystemClock::instance() {
    static const SystemClock clock;
    return clock;
}

}  // namespace hearth
