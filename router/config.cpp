// RouterConfig: names, helps and ranges of hearth-router's settings, and what must hold between
// them.
#include "router/config.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <set>

#include "common/net/http_server.h"
#include "common/wire/fleet_secret.h"
#include "router/session/session_key.h"
#include "router/trace/collector_url.h"

namespace hearth {
namespace {

Error bad(std::string_view field, std::string_view rule) {
    return make_error(ErrorCode::kInvalidArgument, std::string(field) + ": " + std::string(rule));
}

Result<void> check_address(std::string_view field, const std::string& value) {
    if (value.empty()) return {};
    const auto parts = split_host_port(value);
    if (!parts.ok()) return bad(field, parts.error().message);
    return {};
}

// Ids go into headers, labels and log lines as they are.
bool is_node_id(std::string_view id) {
    constexpr std::string_view kCharacters =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.";
    return !id.empty() && id.size() <= 128 &&
           id.find_first_not_of(kCharacters) == std::string_view::npos;
}

// The items of a list: each is a line.
std::vector<std::string> lines_of(const std::string& text) {
    std::vector<std::string> lines;
    for (std::size_t begin = 0; begin < text.size();) {
        const std::size_t end = std::min(text.find('\n', begin), text.size());
        if (end > begin) lines.push_back(text.substr(begin, end - begin));
        begin = end + 1;
    }
    return lines;
}

Result<PoolSettings> read_pool(const std::map<std::string, std::string>& fields) {
    PoolSettings pool;
    for (const auto& [name, value] : fields) {
        if (name == "name")
            pool.name = value;
        else if (name == "models")
            pool.models = lines_of(value);
        else if (name == "aliases")
            pool.aliases = lines_of(value);
        else if (name == "nodes")
            pool.nodes = lines_of(value);
        else
            return make_error(
                ErrorCode::kInvalidArgument,
                "unknown field '" + name + "'; a pool has name, models, aliases and nodes");
    }
    if (!is_node_id(pool.name))
        return make_error(ErrorCode::kInvalidArgument,
                          "name: must be 1 to 128 letters, digits, '-', '_' or '.'");
    if (pool.models.empty())
        return make_error(ErrorCode::kInvalidArgument, "models: at least one is required");
    return pool;
}

Result<void> check_pools(const RouterConfig& config) {
    std::set<std::string> names, models;
    for (const PoolSettings& pool : config.pools) {
        if (!names.insert(pool.name).second)
            return bad("pools", "two pools have the name '" + pool.name + "'");
        for (const auto* list : {&pool.models, &pool.aliases})
            for (const std::string& model : *list)
                if (!models.insert(model).second)
                    return bad("pools", "'" + model + "' is given twice as a model or alias");
    }
    return {};
}

Result<void> check_members(const RouterConfig& config) {
    for (const std::string& source : config.dns) {
        if (source.starts_with("srv:")) {
            if (source.size() == 4) return bad("dns", "srv: needs a name");
            continue;
        }
        if (auto ok = check_address("dns", source); !ok) return ok;
    }
    if (config.dns_refresh_ms < 10) return bad("dns_refresh_ms", "must be at least 10ms");
    if (config.eject_ms < 1) return bad("eject_ms", "must be at least 1ms");
    if (config.eject_ms_max < config.eject_ms)
        return bad("eject_ms_max", "must not be less than eject_ms");
    if (config.health_timeout_ms < 1) return bad("health_timeout_ms", "must be at least 1ms");
    if (config.slow_start_ms < 0) return bad("slow_start_ms", "must not be negative");
    if (!config.health_path.starts_with('/') || !is_field_value(config.health_path) ||
        config.health_path.find(' ') != std::string::npos)
        return bad("health_path", "must be a path: '/' and no spaces");
    return check_pools(config);
}

}  // namespace

Result<StaticNode> static_node_from(const std::map<std::string, std::string>& fields) {
    StaticNode node;
    for (const auto& [name, value] : fields) {
        if (name == "id") {
            node.node_id = value;
        } else if (name == "address") {
            node.address = value;
        } else if (name == "model") {
            node.model = value;
        } else if (name == "weight") {
            const auto end =
                std::from_chars(value.data(), value.data() + value.size(), node.weight);
            if (end.ec != std::errc{} || end.ptr != value.data() + value.size())
                return make_error(ErrorCode::kInvalidArgument, "weight: not a number");
        } else {
            return make_error(
                ErrorCode::kInvalidArgument,
                "unknown field '" + name + "'; a node has id, address, weight and model");
        }
    }
    if (!is_node_id(node.node_id))
        return make_error(ErrorCode::kInvalidArgument,
                          "id: must be 1 to 128 letters, digits, '-', '_' or '.'");
    if (auto ok = check_address("address", node.address); !ok) return ok.error();
    if (node.address.empty())
        return make_error(ErrorCode::kInvalidArgument, "address: is required, host:port");
    if (!(node.weight >= 0.01 && node.weight <= 100))
        return make_error(ErrorCode::kInvalidArgument, "weight: must be between 0.01 and 100");
    return node;
}

namespace {

Result<void> check_nodes(const RouterConfig& config) {
    std::set<std::string> ids;
    for (const StaticNode& node : config.nodes)
        if (!ids.insert(node.node_id).second)
            return bad("nodes", "two nodes have the id '" + node.node_id + "'");
    return {};
}

Result<void> check_session_headers(const RouterConfig& config) {
    if (!config.session_cookie.empty() && !is_field_name(config.session_cookie))
        return bad("session_cookie", "'" + config.session_cookie + "' is not a cookie's name");
    for (const std::string& name : config.session_headers) {
        if (!is_field_name(name))
            return bad("session_headers", "'" + name + "' is not a header name");
        if (SessionKeys::is_per_request(name))
            return bad("session_headers",
                       "'" + name + "' is new with each request: no two turns would meet");
    }
    return {};
}

Result<void> check(const RouterConfig& config) {
    if (config.listen.empty()) return bad("listen", "must be host:port");
    if (auto ok = check_address("listen", config.listen); !ok) return ok;
    if (auto ok = check_address("admin_listen", config.admin_listen); !ok) return ok;
    if (config.admin_token.empty() && !config.admin_listen.empty() &&
        !is_loopback(config.admin_listen))
        return bad("admin_listen", "beyond loopback the admin API needs an admin_token");
    if (auto ok = config.redis.check(); !ok) return ok;
    if (auto tls = TlsContext::listener(config.tls); !tls) return tls.error();
    if (auto tls = upstream_tls_of(config); !tls) return tls.error();
    if (auto ok = check_nodes(config); !ok) return ok;
    if (auto ok = check_members(config); !ok) return ok;
    if (auto ok = check_session_headers(config); !ok) return ok;
    if (auto ok = check_tenants(config.tenants); !ok) return ok;
    if (!config.otlp_endpoint.empty()) {
        const auto url = parse_collector_url(config.otlp_endpoint);
        if (!url) return bad("otlp_endpoint", url.error().message);
    }
    if (!is_field_value(config.upstream_api_key))
        return bad("upstream_api_key", "must be one line of text");
    if (config.body_bytes_max < 1024 || config.body_bytes_max > (256LL << 20))
        return bad("body_bytes_max", "must be between 1024 and 256MiB");
    if (config.membership_refresh_ms < 10)
        return bad("membership_refresh_ms", "must be at least 10ms");
    if (config.health_interval_ms < 10) return bad("health_interval_ms", "must be at least 10ms");
    const std::pair<const char*, std::int64_t> waits[] = {
        {"head_timeout_ms", config.head_timeout_ms},
        {"idle_timeout_ms", config.idle_timeout_ms},
        {"body_timeout_ms", config.body_timeout_ms},
        {"write_timeout_ms", config.write_timeout_ms},
        {"queue_timeout_ms", config.queue_timeout_ms},
    };
    for (const auto& [field, value] : waits)
        if (value < 10 || value > 86'400'000) return bad(field, "must be between 10ms and 24h");
    if (config.connect_timeout_ms < 1) return bad("connect_timeout_ms", "must be at least 1ms");
    if (config.connect_hedge_ms < 0 || config.connect_hedge_ms >= config.connect_timeout_ms)
        return bad("connect_hedge_ms", "must be 0 or less than connect_timeout_ms");
    if (config.spill_margin_ms < 0) return bad("spill_margin_ms", "must not be negative");
    if (config.scale_up_idle_ms < 0) return bad("scale_up_idle_ms", "must not be negative");
    if (config.first_byte_timeout_ms < 1)
        return bad("first_byte_timeout_ms", "must be at least 1ms");
    if (config.idle_stream_timeout_ms < 1)
        return bad("idle_stream_timeout_ms", "must be at least 1ms");
    if (config.heartbeat_ms != 0 && config.heartbeat_ms < 100)
        return bad("heartbeat_ms", "must be 0 (none) or at least 100ms");
    return {};
}

// Whom the listener puts up with, and for how long.
void declare_clients(Options& options, RouterConfig& config) {
    options.add("connections_max", config.connections_max, 1, 1'000'000,
                "Client connections at once; when full, idle ones go first, then 503");
    options.add("connections_per_address_max", config.connections_per_address_max, 0, 1'000'000,
                "Connections of one IPv4 address or IPv6 /64; 0 = no bound");
    options.add_duration_ms("head_timeout_ms", config.head_timeout_ms,
                            "Time for a request's head, first byte to last");
    options.add_duration_ms("idle_timeout_ms", config.idle_timeout_ms,
                            "How long a connection may wait between two requests");
    options.add_duration_ms("body_timeout_ms", config.body_timeout_ms,
                            "Longest silence of a client in the middle of a request body");
    options.add("body_rate_min", config.body_rate_min, 0, 1LL << 30,
                "Bytes a second that a client must send of a body, over 10 s; 0 = any rate");
    options.add_duration_ms("write_timeout_ms", config.write_timeout_ms,
                            "Time for a client to take 16 KiB of an answer");
}

// Who the nodes are, beside Redis and the list, and when one is walked past.
void declare_members(Options& options, RouterConfig& config) {
    options.add("members_file", config.members_file,
                "File with `nodes:` like this one's, looked at each second; empty = none");
    options.add("dns", config.dns, "Nodes by DNS: name:port (A and AAAA) or srv:name");
    options.add_duration_ms("dns_refresh_ms", config.dns_refresh_ms,
                            "Time between two questions to DNS");
    options.add_entries(
        "pools", "Nodes by model, each with name, models, aliases and nodes (ids, `gpu-*`)",
        [&config](const std::map<std::string, std::string>& fields) -> Result<void> {
            auto pool = read_pool(fields);
            if (!pool) return pool.error();
            config.pools.push_back(std::move(*pool));
            return {};
        });
    options.add("health_path", config.health_path, "Path of the nodes that probes ask for");
    options.add_duration_ms("health_interval_ms", config.health_interval_ms,
                            "Time between two probes of a node");
    options.add_duration_ms("health_timeout_ms", config.health_timeout_ms,
                            "Time for a node to answer a probe");
    options.add("health_failures", config.health_failures, 1, 1'000,
                "Probes in a row that make a node down; one refused connection does too");
    options.add("health_passes", config.health_passes, 1, 1'000,
                "Probes in a row that make it up again");
    options.add("eject_failures", config.eject_failures, 0, 1'000'000,
                "Turns in a row that fail by a node's fault and eject it; 0 = never");
    options.add_duration_ms("eject_ms", config.eject_ms,
                            "Time of a first ejection; doubles with each");
    options.add_duration_ms("eject_ms_max", config.eject_ms_max, "Longest ejection");
    options.add("ejected_max_percent", config.ejected_max_percent, 0, 100,
                "Share of a pool that may be ejected; one of two or more always, if not 0");
    options.add("panic_percent", config.panic_percent, 0, 100,
                "With fewer usable nodes of a pool all that take connections are used; 0 = never");
    options.add_duration_ms("slow_start_ms", config.slow_start_ms,
                            "How long a node that joined or came back gets fewer first turns");
    options.add("node_in_flight_max", config.node_in_flight_max, 0, 1'000'000,
                "Turns of this router on one node; more go to heirs or get 429; 0 = no bound");
}

// Who may ask, and who waits.
void declare_admission(Options& options, RouterConfig& config) {
    options.add_entries(
        "tenants",
        "API keys and limits, each with name, keys (list of hashes, see `hearth key`), "
        "requests_per_second, tokens_per_minute, concurrency_max, priority, may_choose_priority, "
        "follow_up_bonus_s and models (list)",
        [&config](const std::map<std::string, std::string>& fields) -> Result<void> {
            auto tenant = read_tenant(fields);
            if (!tenant) return tenant.error();
            config.tenants.push_back(std::move(*tenant));
            return {};
        });
    options.add("forward_authorization", config.forward_authorization,
                "Send a tenant's own API key on to the nodes");
    options.add_secret("upstream_api_key", config.upstream_api_key,
                       "API key for the nodes, in place of the client's");
    options.add("in_flight_max", config.in_flight_max, 0, 10'000'000,
                "Turns of this router on all nodes at once; more wait in a queue; 0 = no bound");
    options.add("queue_max", config.queue_max, 0, 1'000'000, "Turns that may wait; more get 429");
    options.add_duration_ms("queue_timeout_ms", config.queue_timeout_ms,
                            "Longest wait of a turn in the queue, then 503");
}

void declare_redis(Options& options, RedisSettings& redis) {
    options.add("redis", redis.address, "host:port of Redis; empty = the nodes of the list only");
    options.add("redis_sentinels", redis.sentinels,
                "host:port of each Sentinel, in place of `redis`: they say where the master is");
    options.add("redis_master", redis.master, "What the sentinels call the master");
    options.add_secret("redis_sentinel_password", redis.sentinel_password,
                       "Password for AUTH to the sentinels");
    options.add_secret("redis_password", redis.password, "Password for AUTH");
    options.add("redis_tls", redis.tls, "Speak TLS to Redis");
    options.add("redis_ca", redis.ca,
                "PEM file of those who sign Redis' certificate; empty = the system's");
}

void declare_tls(RouterConfig& config, Options& options) {
    options.add("tls_cert", config.tls.cert,
                "PEM file of the certificate and its chain; `listen` then speaks HTTPS only");
    options.add("tls_key", config.tls.key, "PEM file of its key, without a passphrase");
    options.add("tls_client_ca", config.tls.client_ca,
                "PEM file of those who may sign clients' certificates");
    options.add("tls_client_auth", config.tls.client_auth,
                "Clients' certificates: none, request (a bad one is refused) or require");
    options.add("upstream_tls", config.upstream_tls, "Speak HTTPS to the nodes");
    options.add("upstream_ca", config.upstream.ca_file,
                "PEM file of those who sign the nodes' certificates; empty = the system's");
    options.add("upstream_cert", config.upstream.cert_file,
                "PEM file of the certificate shown to nodes that ask for one");
    options.add("upstream_key", config.upstream.key_file, "PEM file of its key");
    options.add("upstream_server_name", config.upstream.server_name,
                "Name in every node's certificate; empty = the host of the node's address");
}

void declare_tracing(RouterConfig& config, Options& options) {
    options.add("otlp_endpoint", config.otlp_endpoint,
                "URL of an OpenTelemetry collector (http://host:4318) that gets a span of each "
                "sampled turn; empty = none");
    options.add("trace_sample", config.trace_sample, 0, 1,
                "Share of the traces begun here that are sampled; a client's own flag decides for "
                "its traces");
}

}  // namespace

std::string session_secret_of(const RouterConfig& config) {
    return config.session_secret.empty() ? "hearth/" + config.cluster : config.session_secret;
}

Result<std::shared_ptr<const TlsContext>> upstream_tls_of(const RouterConfig& config) {
    const TlsClientOptions& upstream = config.upstream;
    if (upstream.cert_file.empty() != upstream.key_file.empty())
        return bad(upstream.cert_file.empty() ? "upstream_cert" : "upstream_key",
                   "is required with the other of upstream_cert and upstream_key");
    if (!config.upstream_tls) {
        if (!upstream.ca_file.empty() || !upstream.cert_file.empty())
            return bad("upstream_tls", "must be true with upstream_ca or upstream_cert");
        return std::shared_ptr<const TlsContext>();
    }
    auto made = TlsContext::client(upstream);
    if (!made) return bad("upstream_tls", made.error().message);
    return made;
}

HealthRules health_rules_of(const RouterConfig& config) {
    HealthRules rules;
    rules.probe_failures = static_cast<int>(config.health_failures);
    rules.probe_passes = static_cast<int>(config.health_passes);
    rules.eject_failures = static_cast<int>(config.eject_failures);
    rules.eject = config.eject_ms * kMs;
    rules.eject_max = config.eject_ms_max * kMs;
    rules.ejected_max_percent = static_cast<int>(config.ejected_max_percent);
    rules.panic_percent = static_cast<int>(config.panic_percent);
    rules.slow_start = config.slow_start_ms * kMs;
    rules.in_flight_max = config.node_in_flight_max;
    return rules;
}

namespace {

// For a node.
void declare_waits(Options& options, RouterConfig& config) {
    options.add_duration_ms("connect_timeout_ms", config.connect_timeout_ms,
                            "Time for a connection to a node");
    options.add_duration_ms("connect_hedge_ms", config.connect_hedge_ms,
                            "Try a second connection to the same node beside one that takes so "
                            "long, such as 200ms; 0 = never");
    options.add_duration_ms("first_byte_timeout_ms", config.first_byte_timeout_ms,
                            "Time for a node to begin its answer");
    options.add_duration_ms("idle_stream_timeout_ms", config.idle_stream_timeout_ms,
                            "Longest silence of a node in the middle of an answer");
    options.add_duration_ms("heartbeat_ms", config.heartbeat_ms,
                            "Send a comment on a stream that was idle so long; 0 = never");
}

}  // namespace

void RouterConfig::declare(Options& options) {
    options.add("listen", listen, "host:port to serve on; port 0 = any free port");
    options.add("admin_listen", admin_listen,
                "host:port of the admin API, for operators only; empty = none");
    options.add("reuse_port", reuse_port,
                "Let other processes listen on the same port (SO_REUSEPORT)");
    options.add("takeover", takeover,
                "Path of a Unix socket: a router started with it takes the listening sockets over "
                "from the one that runs, which then drains; empty = none");
    declare_tls(*this, options);
    options.add_secret("admin_token", admin_token,
                       "Bearer token of the admin API; needed if it listens beyond loopback");
    options.add("decisions_kept", decisions_kept, 0, 10'000'000,
                "Sessions whose last 8 turns the admin API can explain; about 1 KiB each");
    declare_clients(options, *this);
    declare_redis(options, redis);
    options.add("cluster", cluster, "Name that separates fleets in one Redis");
    options.add_entries("nodes",
                        "Static nodes, each with id, address, weight (default 1) and model",
                        [this](const std::map<std::string, std::string>& fields) -> Result<void> {
                            auto node = static_node_from(fields);
                            if (!node) return node.error();
                            nodes.push_back(std::move(*node));
                            return {};
                        });
    options.add("session_headers", session_headers,
                "Headers that name the session, looked at before the built-in ones");
    options.add("session_cookie", session_cookie, "Cookie that names the session; empty = none");
    options.add("session_from_user", session_from_user,
                "Take `user` or `safety_identifier` as session key when there is no better one");
    options.add_secret("session_secret", session_secret,
                       "Key that session keys are derived with; the same for all routers");
    options.add_secret("fleet_secret", fleet_secret,
                       "The nodes' fleet_secret; without it only nodes on this machine erase "
                       "sessions for the admin API");
    declare_admission(options, *this);
    options.add("expose_route", expose_route, "Say in hearth-route which node answered and why");
    options.add_bytes("body_bytes_max", body_bytes_max, "Largest request body");
    options.add_duration_ms("membership_refresh_ms", membership_refresh_ms,
                            "Time between two looks at the nodes in Redis");
    declare_members(options, *this);
    declare_waits(options, *this);
    options.add(
        "retry_foreign", retry_foreign,
        "Send a turn again that died on a node which is not Hearth's and may have begun it");
    options.add("retry_budget_percent", retry_budget_percent, 0, 100,
                "Share of the requests that may be retries");
    options.add("retry_budget_burst", retry_budget_burst, 0, 1'000'000,
                "Retries at once beyond that share");
    options.add_duration_ms("drain_delay_ms", drain_delay_ms,
                            "How long SIGTERM keeps accepting, so that balancers see /ready fail");
    options.add_duration_ms("drain_grace_ms", drain_grace_ms,
                            "How long SIGTERM waits for running answers");
    options.add("local_bindings_max", local_bindings_max, 0, 100'000'000,
                "Sessions whose node this router remembers");
    options.add_duration_ms("spill_margin_ms", spill_margin_ms,
                            "What a turn must gain by leaving the node that holds its session");
    options.add_duration_ms("scale_up_idle_ms", scale_up_idle_ms,
                            "How long a session rests before a newer node takes it over");
    declare_tracing(*this, options);
    options.add_check([this] { return check(*this); });
}

}  // namespace hearth
