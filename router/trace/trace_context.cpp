// traceparent is read by position: it has fixed widths, and what later versions add comes behind.
#include "router/trace/trace_context.h"

#include <algorithm>

#include "common/base/check.h"
#include "common/base/small_copy.h"

namespace hearth {
namespace {

constexpr std::size_t kVersion0Bytes = 55;  // 00-<32>-<16>-<2>

bool is_hex(std::string_view text) {
    return std::all_of(text.begin(), text.end(),
                       [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
}

bool is_zero(std::string_view text) {
    return text.find_first_not_of('0') == std::string_view::npos;
}

bool is_valid(std::string_view text) {
    if (text.size() < kVersion0Bytes || text[2] != '-' || text[35] != '-' || text[52] != '-')
        return false;
    const std::string_view version = text.substr(0, 2);
    if (!is_hex(version) || version == "ff") return false;
    if (version == "00" && text.size() != kVersion0Bytes) return false;
    if (text.size() > kVersion0Bytes && text[kVersion0Bytes] != '-') return false;
    const std::string_view trace = text.substr(3, 32), span = text.substr(36, 16);
    return is_hex(trace) && !is_zero(trace) && is_hex(span) && !is_zero(span) &&
           is_hex(text.substr(53, 2));
}

// 16 digits a word, none of them all zero.
template <std::size_t kWords>
std::string hex_id(Rng& rng) {
    std::string id(16 * kWords, '0');
    char* at = id.data();
    for (std::size_t i = 0; i < kWords; ++i) {
        std::uint64_t bits = 0;
        while (bits == 0) bits = rng.next();
        at = put_hex(at, bits);
    }
    return id;
}

// The one traceparent of the request; empty if there is none or more than one.
std::string_view only_traceparent(const RequestHead& head) {
    std::string_view found;
    for (const HeaderField& field : head.fields) {
        if (!equals_ignore_case(field.name, "traceparent")) continue;
        if (!found.empty()) return {};
        found = field.value;
    }
    return found;
}

}  // namespace

TraceContext::Text TraceContext::traceparent() const {
    Text text;
    char* at = copy_small(text.data(), "00-");
    at = copy_small(at, trace_id);
    at = copy_small(at, "-");
    at = copy_small(at, span_id);
    at = copy_small(at, sampled ? "-01" : "-00");
    CHECK(at == text.data() + text.size());
    return text;
}

TraceContext trace_of(const RequestHead& head, bool records, double sample, Rng& rng) {
    const std::string_view given = only_traceparent(head);
    TraceContext trace;
    if (is_valid(given)) {
        const char flags = given[54];
        const int low = flags <= '9' ? flags - '0' : flags - 'a' + 10;
        trace.trace_id = given.substr(3, 32);
        trace.parent_id = given.substr(36, 16);
        trace.sampled = (low & 1) != 0;
        trace.span_id = records ? hex_id<1>(rng) : trace.parent_id;
        return trace;
    }
    trace.trace_id = hex_id<2>(rng);
    trace.span_id = hex_id<1>(rng);
    trace.sampled = records && rng.uniform() < sample;
    return trace;
}

bool keeps_trace(const TraceContext& trace) {
    return !trace.parent_id.empty();
}

}  // namespace hearth
