// NodeConfig: the settings of hearth-cachenode; a field's name is its YAML key, flag and variable.
#pragma once

#include <cstdint>
#include <string>

#include "common/config/options.h"
#include "common/net/tls.h"
#include "common/redis/settings.h"

namespace hearth {

struct NodeConfig {
    std::string node_id = "node-1";
    std::string listen = "127.0.0.1:8101";
    TlsListenSettings tls;          // Of `listen`.
    std::string advertise;          // host:port for routers; empty = the listen address.
    std::string model_path;         // GGUF file or Hugging Face folder.
    std::string served_model_name;  // Empty = the model's own name.
    std::string chat_template;      // Empty = recognised from the model.
    std::string backend = "auto";
    std::string isa = "auto";
    std::string weights = "int8";          // Or int4.
    std::int64_t threads = 0;              // Engine threads; 0 = cores: see places.h.
    std::string cpus = "auto";             // Where they run: auto, any or a list.
    std::int64_t kv_memory = 512LL << 20;  // Bytes for KV pages.
    std::int64_t sequences_max = 32;
    std::int64_t queue_max = 256;
    std::int64_t step_tokens_max = 512;
    std::int64_t chunk_tokens_max = 512;
    bool cache = true;
    bool truncation = false;  // Over-long chats lose their oldest turns, unless they say otherwise.
    std::int64_t truncation_step_tokens = 2'048;
    bool vllm_metrics = false;        // /metrics says the same in vLLM's names too.
    std::int64_t ghost_sample = 100;  // One session in so many is followed by the ghost cache.
    std::string kv_disk;              // Folder of the disk tier; empty = none.
    std::int64_t kv_disk_bytes = 8LL << 30;  // Its budget.
    std::int64_t kv_ttl_ms = 0;              // Unused pages go after so long; 0 = never.
    std::int64_t follow_up_bonus_ms = 300'000;
    bool kv_verify = true;   // Checksums of pages whenever they are found.
    bool kv_events = false;  // A vLLM-compatible publisher of what the cache holds.
    std::string kv_events_endpoint = "tcp://127.0.0.1:5557";
    bool kv_events_connect = false;  // To a subscriber that binds there.
    std::string kv_events_replay_endpoint = "tcp://127.0.0.1:5558";  // Empty = no replay.
    std::string kv_events_topic;
    std::string kv_events_encoding = "map";  // Or array.
    std::int64_t kv_events_buffer_steps = 10'000;
    std::int64_t kv_events_hwm = 100'000;
    std::int64_t body_bytes_max = 16LL << 20;
    std::int64_t body_memory = 256LL << 20;       // Bytes of all bodies that are being read.
    std::int64_t responses_max = 16'384;          // Kept for previous_response_id.
    std::int64_t responses_memory = 256LL << 20;  // Their bytes.
    std::int64_t connections_max = 4096;
    std::int64_t connections_per_address_max = 0;  // 0 = no bound.
    std::int64_t default_max_tokens = 1024;  // Of a request that names none; 0 = what is left.
    double weight = 1.0;
    RedisSettings redis;  // Not used = nothing is published.
    std::string cluster = "default";
    std::int64_t heartbeat_ms = 1'000;  // Node record lives three heartbeats.
    std::int64_t session_ttl_ms = 86'400'000;
    std::int64_t drain_grace_ms = 30'000;
    std::string fleet_secret;    // Shown between nodes, and by routers; empty = this machine only.
    bool transfer = true;        // Sessions' KV moves between nodes.
    std::int64_t replicate = 0;  // Copies of each turn on the session's heir: 0 or 1.
    std::int64_t pull_timeout_ms = 2'000;
    std::string peer_ca;  // PEM: who signs other nodes' certificates; empty = the system's.

    void declare(Options& options);  // Registers every field with its help.
};

}  // namespace hearth
