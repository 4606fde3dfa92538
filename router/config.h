// RouterConfig: all settings of hearth-router; field names are YAML keys, flags and HEARTH_* names.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "common/base/clock.h"
#include "common/config/options.h"
#include "common/net/tls.h"
#include "common/redis/settings.h"
#include "router/admission/tenants.h"

namespace hearth {

struct StaticNode {
    std::string node_id;  // Stable name; placement hashes it.
    std::string address;  // host:port
    double weight = 1.0;
    std::string model = {};  // That it serves; empty = it does not matter, or nobody knows.
};
// The fields of one entry of a list of nodes: id, address, weight, model.
Result<StaticNode> static_node_from(const std::map<std::string, std::string>& fields);

struct PoolSettings {
    std::string name;
    std::vector<std::string> models, aliases;
    std::vector<std::string> nodes;  // Ids, or beginnings of ids with '*'; empty = by model.
};

// When a node is walked past, and when it is used again. router/members/health.h applies them.
struct HealthRules {
    int probe_failures = 3, probe_passes = 1;  // In a row, to go down and up.
    int eject_failures = 5;                    // Failed turns in a row; 0 = never.
    MonotonicNs eject = 10 * kSecond, eject_max = 300 * kSecond;
    int ejected_max_percent = 50;  // Of a pool.
    int panic_percent = 50;
    MonotonicNs slow_start = 0;
    std::int64_t in_flight_max = 0;  // Of one node; 0 = no bound.
};

struct RouterConfig {
    std::string listen = "127.0.0.1:8080";
    std::string admin_listen = "127.0.0.1:8081";  // Empty = no admin API.
    bool reuse_port = false;                      // Other processes may listen on `listen` too.
    std::string takeover;   // Path of the socket that hands the listeners on; empty = none.
    TlsListenSettings tls;  // Of `listen`.
    bool upstream_tls = false;
    TlsClientOptions upstream;  // With upstream_tls.
    std::int64_t connections_max = 16'384;
    std::int64_t connections_per_address_max = 0;  // 0 = no bound.
    std::int64_t head_timeout_ms = 10'000;
    std::int64_t idle_timeout_ms = 75'000;
    std::int64_t body_timeout_ms = 30'000;
    std::int64_t body_rate_min = 500;  // Bytes a second; 0 = any.
    std::int64_t write_timeout_ms = 30'000;
    RedisSettings redis;  // Not used = static nodes only.
    std::string cluster = "default";
    std::vector<StaticNode> nodes;  // YAML list `nodes:` of {id, address, weight, model}.
    std::string members_file;       // Watched; the same list. Empty = none.
    std::vector<std::string> dns;   // "name:port", or "srv:name".
    std::int64_t dns_refresh_ms = 5'000;
    std::vector<PoolSettings> pools;           // Empty = one for each model that nodes name.
    std::vector<std::string> session_headers;  // Looked at first, before the built-in names.
    std::string session_cookie;
    bool session_from_user = false;       // `user` / `safety_identifier` as a last resort.
    std::string session_secret;           // HMAC key; all routers of a fleet share it.
    std::string fleet_secret;             // Shown to nodes, to erase sessions there.
    std::vector<TenantSettings> tenants;  // YAML list `tenants:`; empty = no key is asked for.
    bool forward_authorization = false;   // Only matters with tenants.
    std::string upstream_api_key;         // Sent to nodes in place of the client's own.
    std::int64_t in_flight_max = 0;       // 0 = no bound, and no queue.
    std::int64_t queue_max = 1'024;
    std::int64_t queue_timeout_ms = 30'000;
    bool expose_route = true;  // Answer with the hearth-route header.
    std::int64_t body_bytes_max = 16LL << 20;
    std::int64_t membership_refresh_ms = 500;
    std::string health_path = "/health";
    std::int64_t health_interval_ms = 1'000;
    std::int64_t health_timeout_ms = 2'000;
    std::int64_t health_failures = 3;
    std::int64_t health_passes = 1;
    std::int64_t eject_failures = 5;
    std::int64_t eject_ms = 10'000;
    std::int64_t eject_ms_max = 300'000;
    std::int64_t ejected_max_percent = 50;
    std::int64_t panic_percent = 50;
    std::int64_t slow_start_ms = 10'000;
    std::int64_t node_in_flight_max = 0;  // 0 = no bound.
    std::int64_t connect_timeout_ms = 1'000;
    std::int64_t connect_hedge_ms = 0;  // 0 = never.
    std::int64_t first_byte_timeout_ms = 600'000;
    std::int64_t idle_stream_timeout_ms = 120'000;
    std::int64_t heartbeat_ms = 0;  // 0 = no comments on idle streams.
    bool retry_foreign = false;     // Send a turn again that a foreign node may have begun.
    std::int64_t retry_budget_percent = 20;
    std::int64_t retry_budget_burst = 100;
    std::int64_t drain_delay_ms = 0;
    std::int64_t drain_grace_ms = 30'000;
    std::int64_t local_bindings_max = 100'000;
    std::string admin_token;               // Wanted by the admin API; empty = by nobody.
    std::int64_t decisions_kept = 10'000;  // Sessions whose last turns the admin API can show.
    std::string otlp_endpoint;   // URL of an OpenTelemetry collector; empty = spans go nowhere.
    double trace_sample = 0.01;  // Share of the traces begun here that are recorded.
    std::int64_t spill_margin_ms = 100;
    std::int64_t scale_up_idle_ms = 600'000;

    void declare(Options& options);  // Registers every field with its help.
};

// What the nodes are spoken to with; null without upstream_tls. Errors name the field.
Result<std::shared_ptr<const TlsContext>> upstream_tls_of(const RouterConfig& config);
HealthRules health_rules_of(const RouterConfig& config);
// session_secret, or what stands for it: all routers of a fleet must derive the same keys, so the
// default cannot be random.
std::string session_secret_of(const RouterConfig& config);

}  // namespace hearth
