// NodeConfig: names, helps and ranges of hearth-cachenode's settings.
#include "cachenode/config.h"

#include <algorithm>
#include <array>
#include <filesystem>
#include <string_view>

#include "common/base/machine.h"
#include "common/net/http_server.h"
#include "engine/text/chat_template.h"

namespace hearth {

namespace {

constexpr std::int64_t kTokensMax = 1 << 20;

Result<void> bad(std::string_view field, std::string_view rule) {
    return make_error(ErrorCode::kInvalidArgument, std::string(field) + ": " + std::string(rule));
}

template <std::size_t N>
Result<void> one_of(std::string_view field, std::string_view value,
                    const std::array<std::string_view, N>& allowed) {
    if (std::find(allowed.begin(), allowed.end(), value) != allowed.end()) return {};
    std::string list;
    for (const std::string_view each : allowed)
        list += (list.empty() ? "" : ", ") + std::string(each);
    return bad(field, "'" + std::string(value) + "' is not one of " + list);
}

Result<void> address(std::string_view field, const std::string& value) {
    if (value.empty()) return {};
    const auto parts = split_host_port(value);
    if (!parts.ok()) return bad(field, parts.error().message);
    return {};
}

// An address that stands for all of the machine's: 0.0.0.0, [::], or another way to write zeros.
bool everywhere(const std::string& place) {
    const auto parts = split_host_port(place);
    return parts.ok() && parts->first.find_first_not_of("0.:") == std::string::npos;
}

std::uint16_t port_of(const std::string& place) {
    const auto parts = split_host_port(place);
    return parts.ok() ? parts->second : std::uint16_t{0};
}

// Like certificates, models are looked for by --check, which so belongs on the node's own machine.
Result<void> model(const char* field, const std::string& path) {
    std::error_code ignored;
    const auto kind = std::filesystem::status(path, ignored).type();
    if (kind == std::filesystem::file_type::regular ||
        kind == std::filesystem::file_type::directory)
        return {};
    if (kind != std::filesystem::file_type::not_found)
        return bad(field, "'" + path + "' is neither a file nor a folder");
    return bad(field, "'" + path +
                          "' does not exist; `hearth model get smollm2` downloads a model and "
                          "prints its path");
}

// What libzmq understands: tcp://HOST:PORT, where either may be *, and ipc://PATH.
Result<void> zmq_endpoint(const char* field, const std::string& value) {
    constexpr std::string_view kTcp = "tcp://", kIpc = "ipc://";
    if (value.starts_with(kIpc) && value.size() > kIpc.size() && value.size() <= 100) return {};
    if (value.starts_with(kTcp)) {
        std::string place = value.substr(kTcp.size());
        if (place.ends_with(":*")) place.replace(place.size() - 1, 1, "0");
        const auto parts = split_host_port(place);
        if (parts.ok() && !parts->first.empty() && place.size() <= 255) return {};
    }
    return bad(field, "'" + value + "' is neither tcp://HOST:PORT nor ipc://PATH");
}

Result<void> check_kv_events(const NodeConfig& config) {
    constexpr std::array<std::string_view, 2> kEncodings = {"map", "array"};
    if (auto ok = zmq_endpoint("kv_events_endpoint", config.kv_events_endpoint); !ok) return ok;
    if (!config.kv_events_replay_endpoint.empty()) {
        const std::string& replay = config.kv_events_replay_endpoint;
        if (auto ok = zmq_endpoint("kv_events_replay_endpoint", replay); !ok) return ok;
        if (replay == config.kv_events_endpoint && !replay.ends_with(":*"))
            return bad("kv_events_replay_endpoint", "must not be kv_events_endpoint");
    }
    const auto is_wild = [](std::string_view endpoint) { return endpoint.ends_with(":*"); };
    if (config.kv_events_connect && is_wild(config.kv_events_endpoint))
        return bad("kv_events_endpoint", "must name a port when kv_events_connect is true");
    if (config.kv_events_topic.size() > 255)
        return bad("kv_events_topic", "must have at most 255 bytes");
    return one_of("kv_events_encoding", config.kv_events_encoding, kEncodings);
}

Result<void> check(const NodeConfig& config) {
    constexpr std::array<std::string_view, 4> kBackends = {"auto", "ref", "cpu", "cuda"};
    constexpr std::array<std::string_view, 6> kIsas = {"auto",    "amx",  "avx512vnni",
                                                       "avxvnni", "avx2", "generic"};
    constexpr std::array<std::string_view, 2> kWeights = {"int8", "int4"};
    // The id goes into headers, labels and Redis keys as it is.
    constexpr std::string_view kIdCharacters =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.";
    if (config.node_id.empty() || config.node_id.size() > 128 ||
        config.node_id.find_first_not_of(kIdCharacters) != std::string::npos)
        return bad("node_id", "must be 1 to 128 letters, digits, '-', '_' or '.'");
    if (config.model_path.empty())
        return bad("model_path", "is required: a GGUF file or a Hugging Face folder");
    if (auto ok = model("model_path", config.model_path); !ok) return ok;
    if (config.listen.empty()) return bad("listen", "must be host:port");
    if (auto ok = address("listen", config.listen); !ok) return ok;
    if (auto ok = address("advertise", config.advertise); !ok) return ok;
    if (auto tls = TlsContext::listener(config.tls); !tls) return tls.error();
    if (auto ok = config.redis.check(); !ok) return ok;
    if (!config.advertise.empty() &&
        (everywhere(config.advertise) || port_of(config.advertise) == 0))
        return bad("advertise", "must name one address that routers can connect to");
    if (everywhere(config.listen) && config.redis.used() && config.advertise.empty())
        return bad("advertise", "is required when `listen` names no address that routers can use");
    if (auto ok = one_of("backend", config.backend, kBackends); !ok) return ok;
    if (auto ok = one_of("isa", config.isa, kIsas); !ok) return ok;
    if (auto ok = one_of("weights", config.weights, kWeights); !ok) return ok;
    if (config.cpus != "auto" && config.cpus != "any")
        if (auto list = parse_cpu_list(config.cpus); !list)
            return bad("cpus", list.error().message);
    if (!config.chat_template.empty()) {
        const auto kind = engine::template_kind_from(config.chat_template);
        if (!kind.ok()) return bad("chat_template", kind.error().message);
    }
    if (config.kv_memory < (1 << 20)) return bad("kv_memory", "must be at least 1MiB");
    if (config.kv_memory > (16LL << 40)) return bad("kv_memory", "must be at most 16TiB");
    if (config.body_bytes_max < 1024) return bad("body_bytes_max", "must be at least 1024");
    if (config.body_memory < config.body_bytes_max)
        return bad("body_memory", "must be at least body_bytes_max");
    if (config.responses_memory < 0) return bad("responses_memory", "must not be negative");
    if (config.kv_disk_bytes < (1 << 20) || config.kv_disk_bytes > (1LL << 50))
        return bad("kv_disk_bytes", "must be between 1MiB and 1PiB");
    if (config.kv_ttl_ms != 0 && config.kv_ttl_ms < 1'000)
        return bad("kv_ttl_ms", "must be 0 or at least 1s");
    if (config.follow_up_bonus_ms < 0 || config.follow_up_bonus_ms > 86'400'000)
        return bad("follow_up_bonus_ms", "must be between 0 and 24h");
    if (config.heartbeat_ms < 50 || config.heartbeat_ms > 60'000)
        return bad("heartbeat_ms", "must be between 50ms and 1m");
    if (config.pull_timeout_ms < 1 || config.pull_timeout_ms > 600'000)
        return bad("pull_timeout_ms", "must be between 1ms and 10m");
    if (!config.fleet_secret.empty() && config.fleet_secret.size() < 16)
        return bad("fleet_secret", "must have at least 16 characters");
    if (config.fleet_secret.find_first_of("\r\n") != std::string::npos)
        return bad("fleet_secret", "must be one line");
    if (config.session_ttl_ms < 1'000) return bad("session_ttl_ms", "must be at least 1s");
    return check_kv_events(config);
}

void declare_redis(Options& options, RedisSettings& redis) {
    options.add("redis", redis.address, "host:port of Redis; empty = nothing is published");
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

void declare_kv(Options& options, NodeConfig& config) {
    options.add("cache", config.cache, "Reuse KV across turns; false computes every prompt whole");
    options.add("truncation", config.truncation,
                "Drop the oldest turns of a chat that outgrows the context; a request may say "
                "'truncation': auto or disabled");
    options.add("truncation_step_tokens", config.truncation_step_tokens, 1, kTokensMax,
                "By how much a truncated chat grows before its first turn changes again");
    options.add("vllm_metrics", config.vllm_metrics,
                "/metrics also has vLLM's names, for autoscalers and dashboards that read those");
    options.add("ghost_sample", config.ghost_sample, 0, 1'000'000,
                "One session in so many shows what an infinite cache would hit; 0 = none");
    options.add("kv_disk", config.kv_disk,
                "Folder for KV that leaves memory, one a node; survives restarts; empty = none");
    options.add_bytes("kv_disk_bytes", config.kv_disk_bytes, "Most that is kept in kv_disk");
    options.add_duration_ms("kv_ttl_ms", config.kv_ttl_ms,
                            "KV that nobody used for so long is dropped; 0 = kept while it fits");
    options.add_duration_ms("follow_up_bonus_ms", config.follow_up_bonus_ms,
                            "By how much a chat that came back counts as younger at eviction");
    options.add("kv_verify", config.kv_verify, "Check the bytes of cached KV whenever it is used");
}

void declare_kv_events(Options& options, NodeConfig& config) {
    options.add("kv_events", config.kv_events,
                "Publish what the cache holds as vLLM does (ZMQ): for routers that index nodes. "
                "Token ids are what users wrote: let only those listen who may read that");
    options.add("kv_events_endpoint", config.kv_events_endpoint,
                "Where to publish: tcp://HOST:PORT or ipc://PATH; port * = any free one");
    options.add("kv_events_connect", config.kv_events_connect,
                "Connect there, to a subscriber that listens, instead of listening");
    options.add("kv_events_replay_endpoint", config.kv_events_replay_endpoint,
                "Where to listen for requests to send batches again; empty = none");
    options.add("kv_events_topic", config.kv_events_topic,
                "First frame of each message, such as kv@node-1@smollm2");
    options.add("kv_events_encoding", config.kv_events_encoding,
                "map, as vLLM 0.24 and later write events, or array, as those before");
    options.add("kv_events_buffer_steps", config.kv_events_buffer_steps, 1, 1'000'000,
                "Batches kept for replay, 64 MiB together at most");
    options.add("kv_events_hwm", config.kv_events_hwm, 1, 10'000'000,
                "Batches that wait for a slow subscriber; it loses those beyond them");
}

}  // namespace

void NodeConfig::declare(Options& options) {
    options.add("node_id", node_id, "Stable name of this node; placement hashes it");
    options.add("listen", listen, "host:port to serve on; port 0 = any free port");
    options.add("tls_cert", tls.cert,
                "PEM file of the certificate and its chain; `listen` then speaks HTTPS only");
    options.add("tls_key", tls.key, "PEM file of its key, without a passphrase");
    options.add("tls_client_ca", tls.client_ca,
                "PEM file of those who may sign the routers' certificates");
    options.add("tls_client_auth", tls.client_auth,
                "Routers' certificates: none, request (a bad one is refused) or require");
    options.add("advertise", advertise, "host:port that routers use; empty = the listen address");
    options.add("model_path", model_path, "Model: a GGUF file or a Hugging Face folder");
    options.add("served_model_name", served_model_name,
                "Name in /v1/models and in requests; empty = the model's own name");
    options.add(
        "chat_template", chat_template,
        "chatml, llama2, llama3, mistral, gemma, phi3, zephyr or plain; empty = recognised from "
        "the model");
    options.add("backend", backend, "auto, ref, cpu or cuda");
    options.add("isa", isa, "CPU instruction set: auto, amx, avx512vnni, avxvnni, avx2 or generic");
    options.add("weights", weights, "int8, or int4: fewer bytes a token, a little less exact");
    options.add("threads", threads, 0, 1024,
                "Engine threads; 0 = one per core that affinity and cgroup grant, but from four "
                "cores on one is left to the router and the network");
    options.add("cpus", cpus,
                "Cores that they are pinned to, such as 1-7; any = none; auto = pinned if the node "
                "was given some of the machine's (taskset, cpuset)");
    options.add_bytes("kv_memory", kv_memory, "Memory for KV pages, such as 512MiB");
    options.add("sequences_max", sequences_max, 1, 1024, "Sequences that run at once");
    options.add("queue_max", queue_max, 1, 100'000, "Turns that wait; more are refused with 429");
    options.add("step_tokens_max", step_tokens_max, 1, kTokensMax,
                "Token budget of one step: decodes first, then prefill");
    options.add("chunk_tokens_max", chunk_tokens_max, 1, kTokensMax,
                "Largest piece of one prompt in a step");
    declare_kv(options, *this);
    declare_kv_events(options, *this);
    options.add_bytes("body_bytes_max", body_bytes_max, "Largest request body");
    options.add_bytes("body_memory", body_memory,
                      "Memory for all request bodies that are being read; beyond it 503");
    options.add("responses_max", responses_max, 0, 1'000'000,
                "Past responses that previous_response_id finds; a tenant has at most a quarter");
    options.add_bytes("responses_memory", responses_memory,
                      "Memory for those; a tenant has at most a quarter");
    options.add("connections_max", connections_max, 1, 1'000'000,
                "Open connections; when full, those that wait for a request make room");
    options.add("connections_per_address_max", connections_per_address_max, 0, 1'000'000,
                "Open connections of one IPv4 address or IPv6 /64; 0 = no bound");
    options.add("default_max_tokens", default_max_tokens, 0, kTokensMax * 16,
                "Reply length when a request names none; 0 = what the context leaves");
    options.add("weight", weight, 0.01, 100.0, "Share of new sessions relative to other nodes");
    declare_redis(options, redis);
    options.add("cluster", cluster, "Name that separates fleets in one Redis");
    options.add_duration_ms("heartbeat_ms", heartbeat_ms,
                            "Time between node records; a record lives three of them");
    options.add_duration_ms("session_ttl_ms", session_ttl_ms,
                            "How long the store remembers where a session is");
    options.add_duration_ms("drain_grace_ms", drain_grace_ms,
                            "How long SIGTERM waits for running replies");
    options.add_secret("fleet_secret", fleet_secret,
                       "Shared by all nodes and routers; without it only this machine's nodes "
                       "exchange KV");
    options.add("transfer", transfer, "Move sessions' KV between nodes; false computes it anew");
    options.add("replicate", replicate, 0, 1,
                "1 = each turn is copied to its session's heir, which serves it after a crash");
    options.add_duration_ms("pull_timeout_ms", pull_timeout_ms,
                            "How long a turn waits for its KV from another node");
    options.add("peer_ca", peer_ca,
                "PEM file of those who sign other nodes' certificates; empty = the system's");
    options.add_check([this] { return check(*this); });
}

}  // namespace hearth
