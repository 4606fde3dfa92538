// NodeConfig: defaults, every source of a value, and that a bad value's message names its field.
#include "cachenode/config.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdio>
#include <fstream>
#include <vector>

namespace hearth {
namespace {

// Settings want a file that exists; what it holds shows only when it is loaded.
constexpr const char* kModel = HEARTH_SOURCE_DIR "/README.md";

// Exit code of parse(), -1 = go on; what it printed goes to `output`.
int parse(NodeConfig& config, std::vector<const char*> arguments, std::string& output) {
    Options options("hearth-cachenode", "About.", {});
    config.declare(options);
    arguments.insert(arguments.begin(), "hearth-cachenode");
    ::testing::internal::CaptureStderr();
    ::testing::internal::CaptureStdout();
    const int code = options.parse(static_cast<int>(arguments.size()), arguments.data());
    output = ::testing::internal::GetCapturedStderr() + ::testing::internal::GetCapturedStdout();
    return code;
}

TEST(NodeConfig, FlagsSetFields) {
    NodeConfig config;
    std::string output;
    EXPECT_EQ(parse(config,
                    {"--model-path", kModel, "--kv-memory", "2GiB", "--heartbeat-ms", "2s",
                     "--cache", "false", "--listen", "0.0.0.0:80", "--threads", "3"},
                    output),
              -1)
        << output;
    EXPECT_EQ(config.model_path, kModel);
    EXPECT_EQ(config.kv_memory, 2LL << 30);
    EXPECT_EQ(config.heartbeat_ms, 2'000);
    EXPECT_FALSE(config.cache);
    EXPECT_EQ(config.threads, 3);
    EXPECT_EQ(config.sequences_max, 32);
}

TEST(NodeConfig, CheckIsEnoughForAGoodOne) {
    NodeConfig config;
    std::string output;
    EXPECT_EQ(parse(config, {"--model-path", kModel, "--check"}, output), 0) << output;
}

TEST(NodeConfig, BadValuesAreNamed) {
    struct Bad {
        const char *flag, *value, *field;
    };
    const std::vector<Bad> table = {
        {"--model-path", "", "model_path"},
        {"--model-path", "smollm2", "hearth model get smollm2"},
        {"--model-path", "/dev/null", "neither a file nor a folder"},
        {"--advertise", "0.0.0.0:8101", "advertise"},
        {"--advertise", "[::0]:8101", "advertise"},
        {"--advertise", "0:8101", "advertise"},
        {"--advertise", "*:8101", "advertise"},
        {"--advertise", "10.0.0.1:0", "advertise"},
        {"--weights", "int2", "weights"},
        {"--listen", "nowhere", "listen"},
        {"--listen", "127.0.0.1:99999", "listen"},
        {"--advertise", "x", "advertise"},
        {"--redis", "redis", "redis"},
        {"--backend", "tpu", "backend"},
        {"--isa", "sse", "isa"},
        {"--cpus", "some", "cpus"},
        {"--chat-template", "fancy", "chat_template"},
        {"--node-id", "a b", "node_id"},
        {"--node-id", "", "node_id"},
        {"--kv-memory", "1KiB", "kv_memory"},
        {"--body-memory", "15MiB", "body_memory"},
        {"--connections-max", "0", "connections_max"},
        {"--connections-per-address-max", "-1", "connections_per_address_max"},
        {"--kv-memory", "much", "kv-memory"},
        {"--kv-memory", "1000TiB", "kv_memory"},
        {"--body-bytes-max", "1", "body_bytes_max"},
        {"--heartbeat-ms", "1ms", "heartbeat_ms"},
        {"--session-ttl-ms", "0ms", "session_ttl_ms"},
        {"--sequences-max", "0", "sequences-max"},
        {"--weight", "-1", "weight"},
        {"--kv-events-endpoint", "127.0.0.1:5557", "kv_events_endpoint"},
        {"--kv-events-endpoint", "", "kv_events_endpoint"},
        {"--kv-events-endpoint", "tcp://127.0.0.1", "kv_events_endpoint"},
        {"--kv-events-endpoint", "ipc://", "kv_events_endpoint"},
        {"--kv-events-endpoint", "tcp://127.0.0.1:5558", "kv_events_replay_endpoint"},
        {"--kv-events-replay-endpoint", "tcp://:1", "kv_events_replay_endpoint"},
        {"--kv-events-encoding", "json", "kv_events_encoding"},
        {"--kv-events-hwm", "0", "kv_events_hwm"},
        {"--kv-events-buffer-steps", "0", "kv_events_buffer_steps"},
    };
    for (const Bad& bad : table) {
        NodeConfig config;
        std::string output;
        std::vector<const char*> arguments = {"--model-path", kModel, bad.flag, bad.value};
        if (std::string_view(bad.flag) == "--model-path") arguments = {bad.flag, bad.value};
        EXPECT_EQ(parse(config, arguments, output), 2) << bad.flag << " " << bad.value;
        std::string said = output;
        std::string field = bad.field;
        for (char& c : said) c = c == '-' ? '_' : c;
        for (char& c : field) c = c == '-' ? '_' : c;
        EXPECT_NE(said.find(field), std::string::npos) << bad.flag << ": " << output;
    }
}

TEST(NodeConfig, AMissingModelIsNamedWithItsPlaceInTheFile) {
    NodeConfig config;
    Options options("hearth-cachenode", "About.", {});
    config.declare(options);
    const std::string path = testing::TempDir() + "node-" + std::to_string(::getpid()) + ".yaml";
    std::ofstream(path) << "node_id: n\nmodel_path: /no/such.gguf\n";
    const char* const arguments[] = {"hearth-cachenode", "--config", path.c_str()};
    const auto read = options.read(3, arguments);
    std::remove(path.c_str());
    ASSERT_FALSE(read.ok());
    EXPECT_TRUE(read.error().message.starts_with(path + ":2:1: model_path: '/no/such.gguf'"))
        << read.error().message;
}

TEST(NodeConfig, AnAddressThatRoutersCannotUseMustBeReplaced) {
    NodeConfig config;
    std::string output;
    const std::vector<const char*> base = {"--model-path", kModel,    "--listen",
                                           "0.0.0.0:80",   "--redis", "r:1"};
    EXPECT_EQ(parse(config, base, output), 2);
    EXPECT_NE(output.find("advertise"), std::string::npos) << output;
    std::vector<const char*> more = base;
    more.insert(more.end(), {"--advertise", "10.0.0.1:80"});
    NodeConfig second;
    EXPECT_EQ(parse(second, more, output), -1) << output;
}

}  // namespace
}  // namespace hearth
