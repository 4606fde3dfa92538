// Reads the two headers that bound a request's time.
#include "router/relay/deadline.h"

#include <algorithm>
#include <charconv>
#include <string>

#include "common/wire/headers.h"

namespace hearth {

Result<MonotonicNs> deadline_of(const RequestHead& head, MonotonicNs now) {
    constexpr double kDayMs = 86'400'000;
    struct Source {
        std::string_view name;
        double unit_ms;
    };
    MonotonicNs deadline = 0;
    for (const auto& [name, unit_ms] :
         {Source{header::kDeadline, 1.0}, Source{"x-request-timeout", 1'000.0}}) {
        const std::string_view text = head.find(name);
        if (text.empty()) continue;
        double value = 0;
        const char* const end = text.data() + text.size();
        const auto parsed = std::from_chars(text.data(), end, value, std::chars_format::fixed);
        if (parsed.ec != std::errc{} || parsed.ptr != end || !(value >= 0))
            return make_error(ErrorCode::kInvalidArgument,
                              std::string(name) + " must be a positive number");
        if (value * unit_ms > kDayMs) continue;
        const MonotonicNs at = now + static_cast<MonotonicNs>(value * unit_ms * double{kMs});
        deadline = deadline == 0 ? at : std::min(deadline, at);
    }
    return deadline;
}

}  // namespace hearth
