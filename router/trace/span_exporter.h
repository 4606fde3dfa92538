// SpanExporter: spans of finished turns, sent to an OpenTelemetry collector in batches.
#pragma once

#include <deque>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "common/base/clock.h"
#include "router/task_group.h"
#include "router/trace/collector_url.h"
#include "router/trace/trace_context.h"

namespace hearth {

class HttpClient;
class RouterMetrics;

// A server span; names of attributes follow OpenTelemetry's conventions where there is one.
struct Span {
    TraceContext trace;
    std::string name;
    UnixMs end = 0;
    MonotonicNs duration = 0;
    bool failed = false;
    std::vector<std::pair<const char*, std::variant<std::string, std::int64_t>>> attributes;
};

// Body of an export: OTLP 1.x's ExportTraceServiceRequest in its JSON encoding.
std::string otlp_json(const std::deque<Span>& spans, std::size_t count);

// Lives in RouterCore; its thread. The queue is bounded: what finds no room is dropped and counted,
// and a collector that is slow, full or gone never makes a turn wait.
class SpanExporter {
  public:
    static constexpr std::size_t kQueueMax = 4'096;
    static constexpr std::size_t kBatchMax = 512;

    explicit SpanExporter(RouterMetrics& metrics) : metrics_(metrics) {}

    void add(Span span);
    std::size_t waiting() const { return queue_.size(); }
    // Sends what waits each second until `group` ends, then once more. `client` speaks TLS if the
    // URL says so; both outlive the group.
    Task<void> run(TaskGroup& group, HttpClient& client, CollectorUrl to);

  private:
    Task<bool> send_batch(HttpClient& client, const CollectorUrl& to);

    RouterMetrics& metrics_;
    std::deque<Span> queue_;
    bool down_ = false;  // The last export failed; said once.
    bool last_ = false;  // The router ends: what is sent now is the last, and may not take long.
};

}  // namespace hearth
