// NodeServer over time: what it publishes, how it drains, and a metadata store that is not there.
#include <gtest/gtest.h>
#include <boost/json/parse.hpp>

#include "common/redis/redis_store.h"
#include "tests/cachenode/server/node_world.h"

namespace hearth {
namespace {

namespace json = boost::json;
using namespace std::chrono_literals;
using testing::chat_body;
using testing::Line;
using testing::NodeWorld;
using testing::sse_data;

constexpr const char* kChat = "/v1/chat/completions";
const std::string kSessionHex = "0123456789abcdef0123456789abcdef";
const HeaderList kSession = {{"hearth-session", kSessionHex}};
const std::vector<Line> kFirst = {{"system", "You are kind."}, {"user", "Hello there!"}};
const std::vector<Line> kSecond = {{"system", "You are kind."},
                                   {"user", "Hello there!"},
                                   {"assistant", "Hello. What can I do for you today?"},
                                   {"user", "Tell me a story."}};
const std::string kShort = R"("temperature":0,"max_tokens":8)";

// Runs the store's answer on the world's loop.
template <typename T>
T value_of(NodeWorld& world, Task<Result<T>> task) {
    auto result = world.run(std::move(task));
    EXPECT_TRUE(result.ok());
    return result.ok() ? *result : T{};
}

class NodeLifecycle : public ::testing::Test {
  protected:
    NodeLifecycle() {
        config_.node_id = "node-a";
        config_.heartbeat_ms = 50;
    }
    std::optional<SessionRecord> session(NodeWorld& world) {
        return value_of(world, store_.find_session(*SessionKey::from_hex(kSessionHex)));
    }
    void put_session(NodeWorld& world, const std::string& node, std::int64_t epoch) {
        SessionRecord record;
        record.node_id = node;
        record.generation = "g1";
        record.epoch = epoch;
        record.tokens = 40;
        EXPECT_TRUE(
            world.run(store_.publish_session(*SessionKey::from_hex(kSessionHex), record, 60s))
                .ok());
    }

    NodeConfig config_;
    MemoryStore store_{SystemClock::instance()};
};

double missed(NodeWorld& world, const std::string& reason) {
    return world.metric("hearth_engine_missed_tokens_total{model=\"tiny\",reason=\"" + reason +
                        "\"}");
}

double tokens(NodeWorld& world, const std::string& kind) {
    return world.metric("hearth_engine_" + kind + "_tokens_total{model=\"tiny\"}");
}

TEST_F(NodeLifecycle, PublishesItselfAndItsSessions) {
    NodeWorld world(config_, &store_);
    ASSERT_TRUE(world.run_until([&] { return !value_of(world, store_.nodes()).empty(); }));
    const NodeRecord node = value_of(world, store_.nodes()).at(0);
    EXPECT_EQ(node.node_id, "node-a");
    EXPECT_EQ(node.address, world.endpoint());
    EXPECT_EQ(node.generation, world.server().generation());
    EXPECT_EQ(node.state, NodeState::kReady);
    EXPECT_EQ(node.model, "tiny");
    const auto answer = world.post(kChat, chat_body(kFirst, kShort), kSession);
    ASSERT_EQ(answer.status, 200) << answer.body;
    ASSERT_TRUE(world.run_until([&] { return session(world).has_value(); }));
    const SessionRecord record = *session(world);
    EXPECT_EQ(record.node_id, "node-a");
    EXPECT_EQ(record.generation, world.server().generation());
    EXPECT_EQ(record.epoch, 1);
    EXPECT_EQ(record.turn, 1);
    const auto usage = json::parse(answer.body).at("usage");
    EXPECT_GE(record.tokens, usage.at("prompt_tokens").to_number<std::int64_t>());
    EXPECT_EQ(world.metric("hearth_directory_up"), 1);
}

TEST_F(NodeLifecycle, ASessionFromALivingNodeCountsAsRerouted) {
    NodeWorld world(config_, &store_);
    NodeRecord other;
    other.node_id = "node-b";
    other.generation = "g1";
    EXPECT_TRUE(world.run(store_.publish_node(other, 60s)).ok());
    put_session(world, "node-b", 3);
    ASSERT_EQ(world.post(kChat, chat_body(kSecond, kShort), kSession).status, 200);
    EXPECT_GT(missed(world, "rerouted"), 0);
    EXPECT_EQ(missed(world, "rerouted") + tokens(world, "reused"), tokens(world, "reusable"));
    ASSERT_TRUE(world.run_until([&] { return session(world)->node_id == "node-a"; }));
    EXPECT_EQ(session(world)->epoch, 4);
}

TEST_F(NodeLifecycle, ASessionFromADeadNodeCountsAsNodeLost) {
    NodeWorld world(config_, &store_);
    put_session(world, "node-c", 1);
    ASSERT_EQ(world.post(kChat, chat_body(kSecond, kShort), kSession).status, 200);
    EXPECT_GT(missed(world, "node_lost"), 0);
    EXPECT_EQ(missed(world, "rerouted"), 0);
    EXPECT_EQ(missed(world, "node_lost") + tokens(world, "reused"), tokens(world, "reusable"));
}

TEST_F(NodeLifecycle, ChatsGoOnWithoutRedis) {
    asio::io_context redis_io;  // Never run: nothing listens, nothing answers.
    RedisOptions options;
    options.address = "127.0.0.1:1";
    RedisStore redis(redis_io, options);
    NodeWorld world(config_, &redis);
    for (const auto* lines : {&kFirst, &kSecond})
        EXPECT_EQ(world.post(kChat, chat_body(*lines, kShort), kSession).status, 200);
    EXPECT_EQ(world.metric("hearth_directory_up"), 0);
}

// A stream that runs while the node drains.
struct Stream {
    std::string body;
    bool over = false, clean = false;
};

Task<void> read_stream(HttpClient& client, std::string host, std::string body, Stream& out) {
    auto opened = co_await client.open(host, /*fresh=*/true);
    CHECK(opened.ok());
    ClientExchange& exchange = **opened;
    ClientExchange::RequestOptions options;
    options.method = "POST";
    options.target = kChat;
    options.host = host;
    options.body = BodyKind::kLength;
    options.content_length = body.size();
    const std::vector<HeaderField> fields = {{"hearth-session", kSessionHex}};
    const auto sent = co_await exchange.send_head(options, fields, body);
    const auto head = co_await exchange.read_head(60s);
    bool more = sent.ok() && head.ok();
    while (more) {
        const auto piece = co_await exchange.read_body_some(60s);
        out.clean = piece.ok() && piece->empty();
        more = piece.ok() && !piece->empty();
        if (more) out.body += *piece;
    }
    out.over = true;
}

// Half a head before the drain, the rest after it has begun.
Task<std::string> ask_in_two_halves(asio::io_context& io, std::string host, std::string path,
                                    asio::steady_timer& go_on) {
    const auto parts = split_host_port(host);
    Tcp::socket socket(io);
    const Tcp::endpoint endpoint(asio::ip::make_address(parts->first), parts->second);
    co_await socket.async_connect(endpoint, asio::use_awaitable);
    const std::string first = "POST " + path + " HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n";
    const std::string rest = "connection: close\r\n\r\n{}";
    std::string answer;
    co_await socket.async_write_some(asio::buffer(first), asio::use_awaitable);
    boost::system::error_code ec;
    co_await go_on.async_wait(asio::redirect_error(asio::use_awaitable, ec));
    co_await socket.async_write_some(asio::buffer(rest), asio::use_awaitable);
    ec.clear();
    while (!ec) {
        std::array<char, 4096> buffer;
        const std::size_t n = co_await socket.async_read_some(
            asio::buffer(buffer), asio::redirect_error(asio::use_awaitable, ec));
        answer.append(buffer.data(), n);
    }
    co_return answer;
}

TEST_F(NodeLifecycle, DrainFinishesStreamsRefusesTurnsAndLeaves) {
    NodeWorld world(config_, &store_);
    ASSERT_TRUE(world.run_until([&] { return !value_of(world, store_.nodes()).empty(); }));
    Stream stream;
    const std::string body =
        chat_body(kFirst, R"("stream":true,"ignore_eos":true,"seed":1,"max_tokens":2500)");
    asio::co_spawn(world.io(), read_stream(world.client(), world.endpoint(), body, stream),
                   [](std::exception_ptr failure) {
                       if (failure) std::rethrow_exception(failure);
                   });
    asio::steady_timer go_on(world.io(), asio::steady_timer::time_point::max());
    std::optional<std::string> late;
    asio::co_spawn(world.io(), ask_in_two_halves(world.io(), world.endpoint(), kChat, go_on),
                   [&](std::exception_ptr failure, std::string answer) {
                       if (failure) std::rethrow_exception(failure);
                       late = std::move(answer);
                   });
    ASSERT_TRUE(world.run_until([&] { return stream.body.size() > 1'000; }));
    bool drained = false;
    asio::co_spawn(world.io(), world.server().drain_and_stop(60s),
                   [&](std::exception_ptr) { drained = true; });
    ASSERT_TRUE(world.run_until([&] { return value_of(world, store_.nodes()).empty(); }));
    EXPECT_FALSE(drained);
    EXPECT_FALSE(stream.over);
    go_on.cancel();
    ASSERT_TRUE(world.run_until([&] { return late.has_value(); }));
    EXPECT_TRUE(late->starts_with("HTTP/1.1 503 ")) << *late;
    EXPECT_NE(late->find("retry-after: 1"), std::string::npos) << *late;
    EXPECT_NE(late->find("\"draining\""), std::string::npos) << *late;
    ASSERT_TRUE(world.run_until([&] { return drained; }));
    EXPECT_TRUE(stream.over && stream.clean);
    EXPECT_EQ(sse_data(stream.body).back(), "[DONE]");
    // Its session is published although the node had left by then.
    const auto published = session(world);
    ASSERT_TRUE(published.has_value());
    EXPECT_GT(published->tokens, 0);
}

TEST_F(NodeLifecycle, DrainCutsWhatOutlivesTheGrace) {
    NodeWorld world(config_, &store_);
    Stream stream;
    const std::string body =
        chat_body(kFirst, R"("stream":true,"ignore_eos":true,"seed":1,"max_tokens":4000)");
    asio::co_spawn(world.io(), read_stream(world.client(), world.endpoint(), body, stream),
                   [](std::exception_ptr failure) {
                       if (failure) std::rethrow_exception(failure);
                   });
    ASSERT_TRUE(world.run_until([&] { return stream.body.size() > 1'000; }));
    world.run(world.server().drain_and_stop(1ms));
    ASSERT_TRUE(world.run_until([&] { return stream.over; }));
    EXPECT_FALSE(stream.clean) << "a cut stream must not look whole";
}

// The way out of a failed start, or of an exception: connections idle and busy, nothing drained.
TEST_F(NodeLifecycle, MayBeDestroyedWithoutADrain) {
    NodeWorld world(config_, &store_);
    Stream stream;
    const std::string body =
        chat_body(kFirst, R"("stream":true,"ignore_eos":true,"seed":1,"max_tokens":4000)");
    asio::co_spawn(world.io(), read_stream(world.client(), world.endpoint(), body, stream),
                   [](std::exception_ptr failure) {
                       if (failure) std::rethrow_exception(failure);
                   });
    ASSERT_EQ(world.get("/health").status, 200);  // Leaves an idle connection.
    ASSERT_TRUE(world.run_until([&] { return stream.body.size() > 1'000; }));
    world.destroy_server();
    ASSERT_TRUE(world.run_until([&] { return stream.over; }));
    EXPECT_FALSE(stream.clean);
}

// As above, before the loop ran once: the first heartbeat is still to come.
TEST_F(NodeLifecycle, MayBeDestroyedBeforeTheLoopRan) {
    NodeWorld world(config_, &store_);
    world.destroy_server();
    EXPECT_TRUE(value_of(world, store_.nodes()).empty());
}

}  // namespace
}  // namespace hearth
