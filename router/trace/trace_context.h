// TraceContext: the W3C trace a request belongs to, taken from its headers or begun here.
#pragma once

#include <array>
#include <string>
#include <string_view>

#include "common/base/rng.h"
#include "common/net/http_head.h"

namespace hearth {

// Identifiers in lower-case hex as on the wire: https://www.w3.org/TR/trace-context/ (level 1).
struct TraceContext {
    std::string trace_id;   // 32 digits, not all zero.
    std::string span_id;    // 16 digits: of this router's span, or the caller's if it records none.
    std::string parent_id;  // 16 digits: the caller's span; empty = the trace begins here.
    bool sampled = false;

    using Text = std::array<char, 55>;
    Text traceparent() const;  // What the next server is told: version 00.
};

// From exactly one valid `traceparent`; any other makes a new trace, as the standard asks.
// `records`: this router reports spans of its own, so the caller's is its parent. `sample`: share
// of new traces, 0 to 1, that are recorded; of the caller's its own flag decides.
TraceContext trace_of(const RequestHead& head, bool records, double sample, Rng& rng);

// Whether `tracestate` may be passed on: only beside a valid traceparent.
bool keeps_trace(const TraceContext& trace);

}  // namespace hearth
