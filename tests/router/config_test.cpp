// RouterConfig from YAML: what is read, and what is refused with the name of its field.
#include "router/config.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

namespace hearth {
namespace {

Result<RouterConfig> load(const std::string& yaml) {
    RouterConfig config;
    Options options("hearth-router", "", {});
    config.declare(options);
    const Result<void> loaded = options.load_yaml(yaml, "router.yaml");
    if (!loaded.ok()) return loaded.error();
    return config;
}

TEST(RouterConfig, Reads) {
    const auto config = load(
        "listen: 0.0.0.0:80\nredis: redis:6379\nsession_headers: [x-chat, X-Other]\n"
        "body_bytes_max: 2MiB\nhealth_interval_ms: 3s\n"
        "nodes:\n  - {id: a, address: 'h:1'}\n  - {id: b, address: '[::1]:2', weight: 2.5}\n");
    ASSERT_TRUE(config.ok()) << config.error().message;
    EXPECT_EQ(config->listen, "0.0.0.0:80");
    EXPECT_EQ(config->session_headers, (std::vector<std::string>{"x-chat", "X-Other"}));
    EXPECT_EQ(config->body_bytes_max, 2 << 20);
    EXPECT_EQ(config->health_interval_ms, 3'000);
    ASSERT_EQ(config->nodes.size(), 2u);
    EXPECT_EQ(config->nodes[1].node_id, "b");
    EXPECT_EQ(config->nodes[1].weight, 2.5);
}

TEST(RouterConfig, ReadsMembersAndHealth) {
    const auto config = load(
        "pools:\n  - {name: p, models: [m], aliases: [fast], nodes: [gpu-a, 'big-*']}\n"
        "dns: ['srv:_h._tcp.x', 'h.x:8001']\ndns_refresh_ms: 2s\nmembers_file: /etc/m.yaml\n"
        "eject_failures: 3\neject_ms: 1s\neject_ms_max: 2s\nnode_in_flight_max: 8\n");
    ASSERT_TRUE(config.ok()) << config.error().message;
    ASSERT_EQ(config->pools.size(), 1u);
    EXPECT_EQ(config->pools[0].aliases, std::vector<std::string>{"fast"});
    EXPECT_EQ(config->pools[0].nodes, (std::vector<std::string>{"gpu-a", "big-*"}));
    EXPECT_EQ(config->dns.size(), 2u);
    EXPECT_EQ(config->members_file, "/etc/m.yaml");
    EXPECT_EQ(config->eject_failures, 3);
    EXPECT_EQ(config->eject_ms_max, 2'000);
    EXPECT_EQ(config->node_in_flight_max, 8);
}

TEST(RouterConfig, RefusesAndNamesTheField) {
    const std::pair<const char*, const char*> cases[] = {
        {"listen: nowhere\n", "listen"},
        {"admin_listen: ':x'\n", "admin_listen"},
        {"redis: redis\n", "redis"},
        {"threads: 2\n", "threads"},
        {"session_headers: [x-request-id]\n", "x-request-id"},
        {"session_headers: ['a b']\n", "session_headers"},
        {"body_bytes_max: 10\n", "body_bytes_max"},
        {"health_interval_ms: 0ms\n", "health_interval_ms"},
        {"nodes: [{id: a, address: 'h:1'}, {id: a, address: 'h:2'}]\n", "nodes"},
        {"nodes: [{address: 'h:1'}]\n", "id"},
        {"nodes: [{id: 'a;b', address: 'h:1'}]\n", "id"},
        {"nodes: [{id: a}]\n", "address"},
        {"nodes: [{id: a, address: h}]\n", "address"},
        {"nodes: [{id: a, address: 'h:1', weight: 0}]\n", "weight"},
        {"nodes: [{id: a, address: 'h:1', weight: heavy}]\n", "weight"},
        {"nodes: [{id: a, address: 'h:1', wieght: 1}]\n", "wieght"},
        {"tenants: [{name: a, keys: [secret]}]\n", "keys"},
        {"pools: [{name: p, models: [m]}, {name: p, models: [n]}]\n", "two pools"},
        {"pools: [{name: p, models: [m]}, {name: q, models: [n], aliases: [m]}]\n", "'m'"},
        {"pools: [{name: p, model: [m]}]\n", "model"},
        {"dns: [nowhere]\n", "dns"},
        {"dns: ['srv:']\n", "dns"},
        {"dns_refresh_ms: 1ms\n", "dns_refresh_ms"},
        {"eject_ms: 0ms\n", "eject_ms"},
        {"eject_ms: 2m\neject_ms_max: 1m\n", "eject_ms_max"},
        {"ejected_max_percent: 101\n", "ejected_max_percent"},
        {"eject_failures: -1\n", "eject_failures"},
        {"node_in_flight_max: many\n", "node_in_flight_max"},
        {"tenants: [{name: a, keys: {b: c}}]\n", "list of scalars"},
        {"tenants: [{name: a, keys: [[b]]}]\n", "list of scalars"},
        {"head_timeout_ms: 1ms\n", "head_timeout_ms"},
        {"queue_timeout_ms: 48h\n", "queue_timeout_ms"},
        {"connect_hedge_ms: 1s\n", "connect_hedge_ms"},
        {"body_rate_min: -1\n", "body_rate_min"},
        {"tls_cert: a.pem\n", "tls_key"},
        {"tls_cert: /no/such.pem\ntls_key: b.key\n", "/no/such.pem"},
        {"tls_client_auth: maybe\n", "tls_client_auth"},
        {"tls_client_auth: require\n", "tls_client_ca"},
        {"upstream_ca: a.pem\n", "upstream_tls"},
        {"upstream_tls: true\nupstream_ca: /no/such.pem\n", "upstream_tls"},
        {"upstream_tls: true\nupstream_cert: a.pem\n", "upstream_key"},
    };
    const std::string path = testing::TempDir() + "hearth_router_config_test.yaml";
    for (const auto& [yaml, field] : cases) {
        std::ofstream(path) << yaml;
        RouterConfig config;
        Options options("hearth-router", "", {});
        config.declare(options);
        const char* const arguments[] = {"hearth-router", "--config", path.c_str(), "--check"};
        testing::internal::CaptureStderr();
        const int code = options.parse(4, arguments);
        const std::string said = testing::internal::GetCapturedStderr();
        EXPECT_EQ(code, 2) << yaml;
        EXPECT_NE(said.find(field), std::string::npos) << yaml << said;
    }
    std::filesystem::remove(path);
}

}  // namespace
}  // namespace hearth
