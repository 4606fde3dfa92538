// The out-of-line parts of common/base: error names, CHECK's last words, the real clock.
#include <chrono>
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

MonotonicNs SystemClock::now() const {
    const auto t = std::chrono::steady_clock::now().time_since_epoch();
    return std::chrono::duration_cast<std::chrono::nanoseconds>(t).count();
}

UnixMs SystemClock::unix_now() const {
    const auto t = std::chrono::system_clock::now().time_since_epoch();
    return std::chrono::duration_cast<std::chrono::milliseconds>(t).count();
}

const SystemClock& SystemClock::instance() {
    static const SystemClock clock;
    return clock;
}

}  // namespace hearth
