// RouterCore: what all requests of one router share.
#pragma once

#include <functional>
#include <memory>

#include "common/base/clock.h"
#include "common/base/rng.h"
#include "common/net/http_client.h"
#include "common/redis/metadata_store.h"
#include "router/admin/decision_log.h"
#include "router/admin/history.h"
#include "router/admin/drains.h"
#include "router/admin/reload.h"
#include "router/admission/admission.h"
#include "router/config.h"
#include "router/members/membership.h"
#include "router/metrics.h"
#include "router/placement/bindings.h"
#include "router/relay/retry_budget.h"
#include "router/session/session_key.h"
#include "router/task_group.h"
#include "router/trace/span_exporter.h"

namespace hearth {

// One io_context's thread. Shared by the server, its connections' handlers and its background
// tasks, so that whichever ends last frees it.
struct RouterCore {
    RouterCore(asio::io_context& io, const RouterConfig& settings, MetadataStore* metadata,
               const Clock& time);

    // A random UUID (RFC 9562 version 4), for a request that brought no id: some servers refuse any
    // other x-request-id.
    std::string fresh_id();
    // Reads the settings again; from then on those that can change are in force. On an error, which
    // names file, line and field, all stays as it is. Blocks for the file.
    Result<ReloadReport> reload();

    // Immutable; a reload puts a new one in its place. Read it anew after each wait.
    std::shared_ptr<const RouterConfig> config;
    MetadataStore* const store;  // Null: static nodes only, and no session is ever an exception.
    const Clock& clock;
    const SessionKeys keys;
    HttpClient client;
    Membership membership;
    Bindings bindings;
    DecisionLog decisions;
    HitHistory history;
    DrainPace drain_pace;
    RouterMetrics metrics;
    Admission admission;
    HttpClient collector;  // Speaks to otlp_endpoint only.
    SpanExporter spans;
    ConfigSource source;  // Null: there is nothing to read again.
    LoadedConfig loaded;  // What `source` gave last.
    // Makes listener and client use the certificates that `config` names, as they are now.
    std::function<Result<void>()> renew_tls;
    TaskGroup background;
    Rng rng;
    RetryBudget retry_budget;
    bool draining = false;
    // When the store was found to have forgotten everything; 0 = never. What was agreed on before
    // the other routers may have agreed on differently since.
    MonotonicNs store_forgot = 0;
    std::size_t kept_bytes = 0;  // Of all request bodies that are kept for a replay.
};

// Until core->background ends: sends spans to the collector of otlp_endpoint, which is set.
Task<void> export_spans(std::shared_ptr<RouterCore> core);

}  // namespace hearth
