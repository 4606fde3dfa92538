// NodeServer: what strangers can take of a node's memory and connections is bounded.
#include <gtest/gtest.h>
#include <array>
#include <list>

#include "common/net/asio.h"
#include "common/net/http_server.h"
#include "tests/cachenode/server/node_world.h"

namespace hearth {
namespace {

using testing::NodeWorld;

// A client by hand, whose requests may stay unfinished.
class RawClient {
  public:
    explicit RawClient(NodeWorld& world) : world_(world), socket_(world.io()) {
        const auto parts = split_host_port(world.endpoint());
        socket_.connect({asio::ip::make_address(parts->first), parts->second});
    }
    void send(const std::string& bytes) {
        std::size_t sent = 0;
        while (sent < bytes.size())
            sent += socket_.write_some(asio::buffer(bytes.data() + sent, bytes.size() - sent));
    }
    // The head of a chat whose body will have `size` bytes, and the first `sent` of them.
    void begin_body(std::size_t size, std::size_t sent) {
        send("POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: " +
             std::to_string(size) + "\r\n\r\n" + std::string(sent, ' '));
    }
    // What the server sends within some turns of its loop, at least until `wanted` is in it.
    std::string read_until(const std::string& wanted) {
        std::string out;
        const bool seen = world_.run_until([&] {
            std::array<char, 4096> piece{};
            while (socket_.available() > 0) {
                const std::size_t n = socket_.read_some(asio::buffer(piece));
                out.append(piece.data(), n);
            }
            return out.find(wanted) != std::string::npos;
        });
        EXPECT_TRUE(seen) << out;
        return out;
    }
    void close() { socket_.close(); }

  private:
    NodeWorld& world_;
    asio::ip::tcp::socket socket_;
};

TEST(NodeLimits, BodiesTogetherAreBounded) {
    NodeConfig config;
    config.body_bytes_max = 64 << 10;
    config.body_memory = 64 << 10;
    NodeWorld world(config);
    RawClient first(world), second(world);
    for (RawClient* client : {&first, &second}) {
        client->begin_body(40'000, 20'000);  // 32 KiB each, the step that 20,000 bytes need.
        (void)world.get("/health");
    }
    RawClient third(world);
    third.begin_body(40'000, 20'000);
    const std::string refused = third.read_until("\"code\":\"overloaded\"");
    EXPECT_EQ(refused.rfind("HTTP/1.1 503 ", 0), 0U) << refused;
    EXPECT_NE(refused.find("retry-after: 1\r\n"), std::string::npos) << refused;
    EXPECT_EQ(world.get("/ready").status, 200);  // Nothing else is refused.

    first.close();  // Its bytes are free again; 20,000 spaces are no JSON, but they are read.
    (void)world.get("/health");
    RawClient fourth(world);
    fourth.begin_body(20'000, 20'000);
    EXPECT_EQ(fourth.read_until("invalid_json").rfind("HTTP/1.1 400 ", 0), 0U);
}

TEST(NodeLimits, ABodyGivesItsBytesBack) {
    NodeConfig config;
    config.body_bytes_max = 64 << 10;
    config.body_memory = 70'000;
    NodeWorld world(config);
    const std::string large(60'000, ' ');
    for (const char* path : {"/v1/chat/completions", "/v1/completions", "/tokenize"})
        for (int i = 0; i < 3; ++i) EXPECT_EQ(world.post(path, large).status, 400) << path;
    EXPECT_EQ(world.post("/tokenize", std::string(66'000, ' ')).status, 413);
    EXPECT_EQ(world.post("/tokenize", large).status, 400);
}

TEST(NodeLimits, ConnectionsOfOneAddressAreBounded) {
    NodeConfig config;
    config.connections_per_address_max = 2;
    NodeWorld world(config);
    RawClient first(world), second(world);
    for (RawClient* client : {&first, &second}) {
        client->send("GET /health HTTP/1.1\r\nhost: x\r\n\r\n");
        client->read_until("200 OK");
    }
    RawClient third(world);
    EXPECT_EQ(third.read_until("HTTP/1.1 ").rfind("HTTP/1.1 503 ", 0), 0U);
}

TEST(NodeLimits, WhenConnectionsAreFullANewcomerIsRefused) {
    NodeConfig config;
    config.connections_max = 2;
    NodeWorld world(config);
    RawClient first(world), second(world);
    for (RawClient* client : {&first, &second}) {
        client->begin_body(1'000, 10);  // At work: they cannot make room.
        world.io().restart();
        world.io().poll();
    }
    RawClient third(world);
    EXPECT_EQ(third.read_until("HTTP/1.1 ").rfind("HTTP/1.1 503 ", 0), 0U);
}

}  // namespace
}  // namespace hearth
