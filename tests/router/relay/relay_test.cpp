// The relay over real sockets: bytes, headers, streams, and who notices when somebody goes.
#include <sstream>

#include "tests/router/fleet.h"

#include <regex>

namespace hearth {
namespace {

// Version 4, as servers that check x-request-id want it.
bool is_uuid(const std::string& text) {
    static const std::regex kUuid(
        "[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}");
    return std::regex_match(text, kUuid);
}

using RelayTest = RouterTest;

TEST_F(RelayTest, WholeAnswer) {
    start_with_store(2);
    const Reply reply = post("s1");
    EXPECT_EQ(reply.status, 200);
    EXPECT_TRUE(reply.whole);
    EXPECT_EQ(reply.headers.at("content-type"), "application/json");
    EXPECT_EQ(reply.headers.at("content-length"), std::to_string(reply.body.size()));
    EXPECT_EQ(reply.headers.count("hearth-node"), 0u) << "an internal field of the node's";
    EXPECT_TRUE(is_uuid(reply.headers.at("x-request-id")));
    EXPECT_EQ(reply.route("key"), "header");
    EXPECT_EQ(reply.body, "{\"node\":\"" + reply.route("node") + "\"}");
    ASSERT_EQ(node(reply.route("node")).turns.size(), 1u);
    EXPECT_EQ(node(reply.route("node")).turns[0].body, kTurn);
    EXPECT_EQ(node(reply.route("node")).turns[0].target, "/v1/chat/completions");
}

TEST_F(RelayTest, HeadersAreRewritten) {
    start_with_store(1);
    const Reply reply = post("s1", kTurn,
                             {{"hearth-session", "forged"},
                              {"hearth_tenant", "forged"},
                              {"Hearth-Request-Id", "forged"},
                              {"x-request-id", "abc-1.2:3"},
                              {"authorization", "Bearer k"},
                              {"x-custom", "1"},
                              {"x-custom", "2"}});
    EXPECT_EQ(reply.headers.at("x-request-id"), "abc-1.2:3");
    const NodeRequest seen = nodes_[0]->turns.at(0);
    EXPECT_EQ(seen.header("hearth-session").size(), 32u);
    EXPECT_EQ(seen.header("hearth-request-id"), "abc-1.2:3");
    EXPECT_EQ(seen.header("x-request-id"), "abc-1.2:3");
    EXPECT_EQ(seen.header("hearth_tenant"), "");
    EXPECT_EQ(seen.header("hearth-tenant"), "");
    EXPECT_EQ(seen.header("authorization"), "Bearer k");
    EXPECT_EQ(seen.header("x-custom"), "1|2");
    EXPECT_EQ(seen.header("host"), nodes_[0]->address());
    EXPECT_EQ(post("s1").route("node"), "node-1");
    EXPECT_EQ(nodes_[0]->turns.at(1).header("hearth-session"), seen.header("hearth-session"));
}

TEST_F(RelayTest, InsaneRequestIdsAreReplaced) {
    start_with_store(1);
    for (const std::string& id :
         {std::string("a b"), std::string(129, 'x'), std::string("<script>")}) {
        const Reply reply = post("s1", kTurn, {{"x-request-id", id}});
        EXPECT_TRUE(is_uuid(reply.headers.at("x-request-id"))) << id;
    }
}

TEST_F(RelayTest, HopByHopFieldsAndFramingAreMadeAnew) {
    start_with_store(1);
    RawClient raw(io_, static_cast<std::uint16_t>(split_host_port(router_->endpoint())->second));
    const std::string request =
        "POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nConnection: x-hop, keep-alive\r\n"
        "X-Hop: 1\r\nKeep-Alive: 5\r\nTE: trailers\r\nTransfer-Encoding: chunked\r\n\r\n"
        "10;ext=1\r\n{\"model\":\"m\",\"me\r\n14\r\nssages\":[],\"user\":1}\r\n0\r\nX-Trailer: "
        "1\r\n\r\n";
    run_until_done(io_, raw.send(request));
    std::string answer;
    const auto read = [](RawClient& client, std::string& out) -> Task<void> {
        out = co_await client.read_until("}");
    };
    run_until_done(io_, read(raw, answer));
    EXPECT_EQ(answer.rfind("HTTP/1.1 200 OK\r\n", 0), 0u) << answer;
    const NodeRequest seen = nodes_[0]->turns.at(0);
    EXPECT_EQ(seen.body, R"({"model":"m","messages":[],"user":1})");
    EXPECT_EQ(seen.body_kind, BodyKind::kLength) << "the whole body was scanned, so it is known";
    for (const char* name : {"x-hop", "keep-alive", "te", "transfer-encoding", "x-trailer"})
        EXPECT_EQ(seen.header(name), "") << name;
}

struct StreamScript {
    explicit StreamScript(asio::io_context& io) : second(io), third(io) {}
    Gate second, third;
};

TEST_F(RelayTest, AStreamPassesPieceByPiece) {
    start_with_store(1);
    StreamScript script(io_);
    nodes_[0]->behaviour = [&script](FakeNode&, ServerExchange& exchange) -> Task<void> {
        HeaderList headers{{"content-type", "text/event-stream"}};
        (void)co_await exchange.start_stream(200, std::move(headers));
        (void)co_await exchange.write("data: one\n\n");
        co_await script.second.wait();
        (void)co_await exchange.write("data: two\n\n");
        co_await script.third.wait();
        (void)co_await exchange.write("data: [DONE]\n\n");
        (void)co_await exchange.finish_stream();
    };
    RawClient raw(io_, split_host_port(router_->endpoint())->second);
    const std::string body = kTurn;
    run_until_done(io_,
                   raw.send("POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: " +
                            std::to_string(body.size()) + "\r\n\r\n" + body));
    std::vector<std::string> got;
    const auto read = [](RawClient& client, StreamScript& s,
                         std::vector<std::string>& out) -> Task<void> {
        out.push_back(co_await client.read_until("data: one\n\n\r\n"));
        s.second.open();
        out.push_back(co_await client.read_until("data: two\n\n\r\n"));
        s.third.open();
        out.push_back(co_await client.read_until("0\r\n\r\n"));
    };
    run_until_done(io_, read(raw, script, got));
    ASSERT_EQ(got.size(), 3u);
    EXPECT_NE(got[0].find("transfer-encoding: chunked"), std::string::npos);
    EXPECT_NE(got[0].find("content-type: text/event-stream"), std::string::npos);
    EXPECT_EQ(got[1], "b\r\ndata: two\n\n\r\n");
    EXPECT_NE(got[2].find("[DONE]"), std::string::npos);
    EXPECT_EQ(metric("hearth_router_requests_total", "stream=\"true\""), 1);
}

TEST_F(RelayTest, ARequestBodyPassesPieceByPiece) {
    start_with_store(1);
    Gate half(io_);
    std::string first, rest;
    nodes_[0]->read_body = false;
    nodes_[0]->behaviour = [&](FakeNode& node, ServerExchange& exchange) -> Task<void> {
        std::array<char, 64> bytes{};
        auto n = co_await exchange.read_body_some(asio::buffer(bytes));
        first.assign(bytes.data(), *n);
        half.open();
        auto body = co_await exchange.read_body(1000);
        rest = *body;
        co_await FakeNode::answer_json(node, exchange);
    };
    RawClient raw(io_, split_host_port(router_->endpoint())->second);
    const auto talk = [](RawClient& client, Gate& gate) -> Task<void> {
        co_await client.send(
            "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nx-session-id: s\r\n"
            "content-length: 10\r\n\r\nhalf ");
        co_await gate.wait();
        co_await client.send("whole");
        (void)co_await client.read_until("}");
    };
    run_until_done(io_, talk(raw, half));
    EXPECT_EQ(first, "half ");
    EXPECT_EQ(rest, "whole");
}

TEST_F(RelayTest, AClientThatLeavesStopsItsNode) {
    start_with_store(1);
    bool node_saw_it = false;
    for (const bool streaming : {false, true}) {
        node_saw_it = false;
        Gate arrived(io_);
        nodes_[0]->behaviour = [&](FakeNode&, ServerExchange& exchange) -> Task<void> {
            if (streaming) {
                HeaderList headers{{"content-type", "text/event-stream"}};
                (void)co_await exchange.start_stream(200, std::move(headers));
                (void)co_await exchange.write("data: one\n\n");
            }
            arrived.open();
            node_saw_it = co_await exchange.wait_client_gone();
            exchange.abort();
        };
        RawClient raw(io_, split_host_port(router_->endpoint())->second);
        const std::string body = kTurn;
        const std::string request =
            "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: " +
            std::to_string(body.size()) + "\r\n\r\n" + body;
        const auto leave = [](RawClient& client, std::string bytes, Gate& gate) -> Task<void> {
            co_await client.send(std::move(bytes));
            co_await gate.wait();
            client.close();
        };
        run_until_done(io_, leave(raw, request, arrived));
        EXPECT_TRUE(run_until(io_, [&] { return node_saw_it; })) << "streaming " << streaming;
    }
    wait_metric("hearth_router_aborted_requests_total", 2, "reason=\"client_gone\"");
    EXPECT_EQ(metric("hearth_router_requests_total", "code=\"499\""), 2);
    EXPECT_EQ(metric("hearth_router_node_in_flight"), 0);
    EXPECT_EQ(metric("hearth_router_requests_in_flight"), 0);
}

TEST_F(RelayTest, ANodeThatDiesInAStreamBreaksItVisibly) {
    start_with_store(2);
    struct Case {
        std::string sent, passed;
    };
    const std::string event = "data: {\"a\":1}\n\n", error = "data: {\"error\":{";
    for (const Case& c : {Case{event, event}, Case{event + "data: {\"b", event},
                          Case{event + "data: {\"b\":2}\n", event + "data: {\"b\":2}\n\n"}}) {
        for (const auto& node : nodes_)
            node->behaviour = [c](FakeNode&, ServerExchange& exchange) -> Task<void> {
                HeaderList headers{{"content-type", "text/event-stream"}};
                (void)co_await exchange.start_stream(200, std::move(headers));
                (void)co_await exchange.write(c.sent);
                exchange.abort();
            };
        const Reply reply = post("s1");
        EXPECT_EQ(reply.status, 200);
        EXPECT_FALSE(reply.whole);
        EXPECT_EQ(reply.body.rfind(c.passed + error, 0), 0u) << reply.body;
        EXPECT_EQ(reply.body.find("[DONE]"), std::string::npos);
    }
    EXPECT_EQ(metric("hearth_router_aborted_requests_total", "reason=\"node_lost\""), 3);
    EXPECT_EQ(metric("hearth_router_retries_total"), 0);
}

TEST_F(RelayTest, LargeAnswersAreStreamed) {
    start_with_store(1);
    const std::string large(3 << 20, 'x');
    nodes_[0]->behaviour = [&large](FakeNode&, ServerExchange& exchange) -> Task<void> {
        (void)co_await exchange.respond(200, HeaderList{}, large);
    };
    const Reply reply = post("s1");
    EXPECT_TRUE(reply.whole);
    EXPECT_EQ(reply.body, large);
    EXPECT_EQ(reply.headers.count("content-length"), 0u);
}

TEST_F(RelayTest, LargeRequestsArriveByteForByte) {
    start_with_store(1);
    std::string body = R"({"model":"m","messages":[{"role":"user","content":")";
    for (int i = 0; body.size() < (5 << 20); ++i) body += std::to_string(i) + " ";
    body += "\"}]}";
    EXPECT_EQ(post("s1", body).status, 200);
    EXPECT_EQ(post("", body).status, 200);
    EXPECT_EQ(nodes_[0]->turns.at(0).body, body);
    EXPECT_EQ(nodes_[0]->turns.at(1).body, body);
}

TEST_F(RelayTest, NodeErrorsPass) {
    start_with_store(2);
    for (const auto& node : nodes_)
        node->behaviour = [](FakeNode&, ServerExchange& exchange) -> Task<void> {
            HeaderList headers{{"retry-after", "7"}};
            (void)co_await exchange.respond(429, std::move(headers), "{\"error\":{}}");
        };
    const Reply reply = post("s1");
    EXPECT_EQ(reply.status, 429);
    EXPECT_EQ(reply.headers.at("retry-after"), "7");
    EXPECT_EQ(nodes_[0]->turns.size() + nodes_[1]->turns.size(), 1u);
}

TEST_F(RelayTest, DeadlineForTheFirstByte) {
    config_.first_byte_timeout_ms = 20;
    start_with_store(2);
    Gate never(io_);
    for (const auto& node : nodes_)
        node->behaviour = [](FakeNode&, ServerExchange& exchange) -> Task<void> {
            (void)co_await exchange.wait_client_gone();
            exchange.abort();
        };
    const Reply reply = post("s1");
    EXPECT_EQ(reply.status, 504);
    EXPECT_NE(reply.body.find("\"code\":\"node_timeout\""), std::string::npos);
    EXPECT_EQ(nodes_[0]->turns.size() + nodes_[1]->turns.size(), 1u) << "not sent twice";
}

// A server that sends its head at once and then queues the request (vLLM does).
TEST_F(RelayTest, TheFirstByteOfABodyHasItsOwnDeadline) {
    config_.idle_stream_timeout_ms = 20;
    start_with_store(1);
    nodes_[0]->behaviour = [this](FakeNode&, ServerExchange& exchange) -> Task<void> {
        HeaderList headers{{"content-type", "text/event-stream"}};
        (void)co_await exchange.start_stream(200, std::move(headers));
        (void)co_await exchange.write({});
        asio::steady_timer queue(io_, milliseconds(200));
        co_await queue.async_wait(asio::use_awaitable);
        (void)co_await exchange.write("data: [DONE]\n\n");
        (void)co_await exchange.finish_stream();
    };
    const Reply reply = post("s1");
    EXPECT_EQ(reply.status, 200) << reply.body;
    EXPECT_EQ(reply.body, "data: [DONE]\n\n");
}

}  // namespace
}  // namespace hearth
