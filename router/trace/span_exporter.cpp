// OTLP over HTTP with JSON bodies (opentelemetry.io/docs/specs/otlp, section OTLP/HTTP): needs no
// protobuf, and every collector takes it.
#include "router/trace/span_exporter.h"

#include <algorithm>
#include <boost/json.hpp>

#include "common/base/log.h"
#include "common/net/http_client.h"
#include "router/metrics.h"

namespace hearth {
namespace {

namespace json = boost::json;
using std::chrono::milliseconds;

constexpr milliseconds kInterval{1'000};
constexpr milliseconds kSendTimeout{5'000};
constexpr milliseconds kLastSendTimeout{1'000};
constexpr int kKindServer = 2;
constexpr int kStatusError = 2;

json::object attribute(std::string_view key, const std::variant<std::string, std::int64_t>& value) {
    json::object typed;
    // The JSON encoding of protobuf writes 64-bit integers as strings.
    if (const auto* number = std::get_if<std::int64_t>(&value))
        typed["intValue"] = std::to_string(*number);
    else
        typed["stringValue"] = std::get<std::string>(value);
    return {{"key", key}, {"value", std::move(typed)}};
}

json::object encode(const Span& span) {
    const std::int64_t end = span.end * kMs;
    json::object out{{"traceId", span.trace.trace_id},
                     {"spanId", span.trace.span_id},
                     {"name", span.name},
                     {"kind", kKindServer},
                     {"startTimeUnixNano", std::to_string(end - span.duration)},
                     {"endTimeUnixNano", std::to_string(end)}};
    if (!span.trace.parent_id.empty()) out["parentSpanId"] = span.trace.parent_id;
    json::array attributes;
    for (const auto& [key, value] : span.attributes) attributes.push_back(attribute(key, value));
    out["attributes"] = std::move(attributes);
    if (span.failed) out["status"] = json::object{{"code", kStatusError}};
    return out;
}

}  // namespace

std::string otlp_json(const std::deque<Span>& spans, std::size_t count) {
    json::array encoded;
    for (std::size_t i = 0; i < count; ++i) encoded.push_back(encode(spans[i]));
    const json::object scope{{"scope", json::object{{"name", "hearth.router"}}},
                             {"spans", std::move(encoded)}};
    const json::object resource{
        {"attributes", json::array{attribute("service.name", std::string("hearth-router"))}}};
    const json::object of{{"resource", resource}, {"scopeSpans", json::array{scope}}};
    return json::serialize(json::object{{"resourceSpans", json::array{of}}});
}

void SpanExporter::add(Span span) {
    if (queue_.size() >= kQueueMax) {
        metrics_.spans("dropped", 1);
        return;
    }
    queue_.push_back(std::move(span));
}

// False if the collector did not take it; what it would refuse again is dropped.
Task<bool> SpanExporter::send_batch(HttpClient& client, const CollectorUrl& to) {
    const std::size_t count = std::min(queue_.size(), kBatchMax);
    const std::string body = otlp_json(queue_, count);
    HeaderList headers;
    headers.push_back({"content-type", "application/json"});
    const milliseconds timeout = last_ ? kLastSendTimeout : kSendTimeout;
    const auto answer = co_await client.call(to.host_port, "POST", to.path, headers, body, timeout);
    const bool taken = answer.ok() && answer->status / 100 == 2;
    const bool again = !answer.ok() || answer->status == 429 || answer->status >= 500;
    if (taken != !down_) {
        down_ = !taken;
        const std::string why =
            answer.ok() ? "HTTP " + std::to_string(answer->status) : answer.error().message;
        if (down_)
            log::warn("the trace collector takes no spans", {{"error", why}});
        else
            log::info("the trace collector is back");
    }
    if (!taken && again) co_return false;
    metrics_.spans(taken ? "exported" : "refused", count);
    queue_.erase(queue_.begin(), queue_.begin() + static_cast<std::ptrdiff_t>(count));
    co_return true;
}

Task<void> SpanExporter::run(TaskGroup& group, HttpClient& client, CollectorUrl to) {
    while (!last_) {
        last_ = !co_await group.pause(kInterval);
        bool taken = true;
        while (taken && !queue_.empty()) taken = co_await send_batch(client, to);
    }
    metrics_.spans("dropped", queue_.size());
    queue_.clear();
}

}  // namespace hearth
