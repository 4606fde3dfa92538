// The router's own answers: paths, methods, refusals, model list, admin list, drain, odd clients.
#include <filesystem>
#include <fstream>
#include <sstream>

#include "tests/router/fleet.h"

namespace hearth {
namespace {

namespace fs = std::filesystem;

class ServerTest : public RouterTest {
  protected:
    Reply call(const std::string& method, const std::string& path, const std::string& body = "",
               HeaderList headers = {}) {
        return run(request(router_->endpoint(), method, path, std::move(headers), body));
    }
    static void expect_error(const Reply& reply, int status, const std::string& code) {
        EXPECT_EQ(reply.status, status) << reply.body;
        const std::string type = status < 500 ? "invalid_request_error" : "server_error";
        EXPECT_EQ(reply.body.rfind("{\"error\":{\"message\":\"", 0), 0u) << reply.body;
        EXPECT_NE(reply.body.find("\"type\":\"" + type + "\""), std::string::npos) << reply.body;
        EXPECT_NE(reply.body.find("\"code\":\"" + code + "\""), std::string::npos) << reply.body;
        EXPECT_EQ(reply.headers.at("content-type"), "application/json");
    }
};

TEST_F(ServerTest, PathsAndMethods) {
    start_with_store(1);
    EXPECT_EQ(call("GET", "/health").status, 200);
    EXPECT_EQ(call("GET", "/ready").status, 200);
    EXPECT_EQ(call("GET", "/metrics").headers.at("content-type").rfind("text/plain", 0), 0u);
    EXPECT_EQ(call("POST", "/v1/completions?x=1", R"({"prompt":"a"})").status, 200);
    EXPECT_EQ(nodes_[0]->turns.at(0).target, "/v1/completions?x=1");
    for (const char* path :
         {"/", "/v1", "/v1/embeddings", "/v1/chat/completions/", "/admin/v1/nodes"})
        expect_error(call("GET", path), 404, "unknown_url");
    for (const auto& [path, method, allow] :
         {std::tuple{"/v1/chat/completions", "GET", "POST"},
          std::tuple{"/v1/completions", "PUT", "POST"}, std::tuple{"/v1/models", "POST", "GET"},
          std::tuple{"/health", "DELETE", "GET"}}) {
        const Reply reply = call(method, path);
        expect_error(reply, 405, "method_not_allowed");
        EXPECT_EQ(reply.headers.at("allow"), allow);
    }
    EXPECT_EQ(metric("hearth_router_requests_total", "code=\"404\""), 5);
    EXPECT_EQ(metric("hearth_router_requests_in_flight"), 0);
}

TEST_F(ServerTest, BadRequests) {
    config_.body_bytes_max = 1 << 20;
    start_with_store(1);
    expect_error(post(std::string(257, 'k')), 400, "session_key_too_long");
    expect_error(post("", "[]"), 400, "invalid_json");
    expect_error(post("", "{} x"), 400, "invalid_json");
    expect_error(call("POST", "/v1/chat/completions"), 400, "invalid_json");
    const Reply long_key = post("", R"({"session_id":")" + std::string(257, 'k') + "\"}");
    expect_error(long_key, 400, "session_key_too_long");
    EXPECT_NE(long_key.body.find("\"param\":\"session_id\""), std::string::npos);
    const std::string large(2 << 20, ' ');
    expect_error(post("s", large), 413, "body_too_large");
    expect_error(post("", large), 413, "body_too_large");
    EXPECT_TRUE(nodes_[0]->turns.empty());
    EXPECT_EQ(metric("hearth_router_admission_rejected_total", "reason=\"body_too_large\""), 2);
}

TEST_F(ServerTest, AChunkedBodyHasTheSameBound) {
    config_.body_bytes_max = 1 << 20;
    start_with_store(1);
    for (const std::string& session : {std::string("x-session-id: s\r\n"), std::string()}) {
        RawClient raw(io_, split_host_port(router_->endpoint())->second);
        std::string answer;
        const auto talk = [](RawClient& client, std::string head, std::string& out) -> Task<void> {
            std::string bytes = "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\n" + head +
                                "transfer-encoding: chunked\r\n\r\n";
            for (int n = 0; n < 20; ++n) bytes += "10000\r\n" + std::string(0x10000, ' ') + "\r\n";
            co_await client.send(std::move(bytes));
            out = co_await client.read_until("}}");
        };
        run_until_done(io_, talk(raw, session, answer));
        EXPECT_EQ(answer.rfind("HTTP/1.1 413 ", 0), 0u) << answer;
    }
    EXPECT_EQ(metric("hearth_router_node_in_flight"), 0);
}

TEST_F(ServerTest, JsonTestSuiteIsRefused) {
    const fs::path suite = fs::path(HEARTH_SOURCE_DIR) / "../shared/suites/json/JSONTestSuite";
    if (!fs::exists(suite)) GTEST_SKIP() << suite << " is not beside the repository";
    start_with_store(1);
    nodes_[0]->behaviour = [](FakeNode&, ServerExchange& exchange) -> Task<void> {
        (void)co_await exchange.respond(400, HeaderList{}, "from the node");
    };
    int bodies = 0;
    for (const auto& entry : fs::directory_iterator(suite)) {
        if (entry.path().extension() != ".json") continue;
        std::stringstream bytes;
        bytes << std::ifstream(entry.path(), std::ios::binary).rdbuf();
        const Reply reply = call("POST", "/v1/chat/completions", bytes.str());
        EXPECT_EQ(reply.status, 400) << entry.path();
        const bool bad = entry.path().filename().string()[0] == 'n';
        if (bad) expect_error(reply, 400, "invalid_json");
        ++bodies;
    }
    EXPECT_GT(bodies, 300);
}

TEST_F(ServerTest, ModelsAreTheUnion) {
    add_nodes(3);
    nodes_[0]->models = R"({"object":"list","data":[{"id":"b","object":"model","owned_by":"x"}]})";
    nodes_[1]->models = R"({"data":[{"object":"model","id":"a","meta":{"id":"no"}},{"id":"b"}]})";
    nodes_[2]->models = "nonsense";
    for (const auto& node : nodes_) config_.nodes.push_back({node->id, node->address(), 1.0});
    start_router(nullptr);
    wait_ready();
    const Reply reply = get("/v1/models");
    EXPECT_EQ(reply.status, 200);
    EXPECT_EQ(reply.body,
              R"({"object":"list","data":[{"object":"model","id":"a","meta":{"id":"no"}},)"
              R"({"id":"b","object":"model","owned_by":"x"}]})");
    for (const auto& node : nodes_) node->models = "nonsense";
    expect_error(get("/v1/models"), 502, "node_lost");
    for (const auto& node : nodes_) node->stop();
    wait_metric("hearth_router_node_health", 0);
    expect_error(get("/v1/models"), 503, "no_node");
}

TEST_F(ServerTest, OneModel) {
    add_nodes(1);
    nodes_[0]->models = R"({"data":[{"id":"a/b c","object":"model"},{"id":"m"}]})";
    config_.nodes.push_back({nodes_[0]->id, nodes_[0]->address(), 1.0});
    start_router(nullptr);
    wait_ready();
    EXPECT_EQ(get("/v1/models/m").body, R"({"id":"m"})");
    for (const char* path : {"/v1/models/a%2Fb%20c", "/v1/models/a/b%20c"})
        EXPECT_EQ(get(path).body, R"({"id":"a/b c","object":"model"})") << path;
    expect_error(get("/v1/models/none"), 404, "model_not_found");
    EXPECT_NE(get("/v1/models/none").body.find("\"param\":\"model\""), std::string::npos);
    expect_error(get("/v1/models/"), 404, "unknown_url");
    expect_error(call("DELETE", "/v1/models/m"), 405, "method_not_allowed");
}

TEST_F(ServerTest, ModelsOfNodesThatWantAKey) {
    add_nodes(1);
    nodes_[0]->models_key = "Bearer k";
    config_.nodes.push_back({nodes_[0]->id, nodes_[0]->address(), 1.0});
    start_router(nullptr);
    wait_ready();
    EXPECT_EQ(call("GET", "/v1/models", "", {{"authorization", "Bearer k"}}).status, 200);
    EXPECT_EQ(call("GET", "/v1/models/m", "", {{"authorization", "Bearer k"}}).status, 200);
    expect_error(get("/v1/models"), 401, "unauthorized");
}

TEST_F(ServerTest, AdminListsTheNodes) {
    add_nodes(2);
    NodeRecord record = record_of(*nodes_[0]);
    record.kv_bytes_used = 5;
    record.kv_disk_bytes_max = 7;
    publish(record);
    record = record_of(*nodes_[1]);
    record.state = NodeState::kStarting;
    publish(record);
    start_router(&store_);
    wait_ready();
    const Reply reply =
        run(request(router_->admin_endpoint(), "GET", "/admin/v1/nodes", HeaderList{}, ""));
    EXPECT_EQ(reply.status, 200);
    for (const char* part :
         {R"("cluster":"default")", R"("directory_up":true)", R"("id":"node-1")",
          R"("state":"active")", R"("healthy":true)", R"("kv_bytes_used":5)",
          R"("kv_disk_bytes_max":7)", R"("weight":1,)", R"("id":"node-2")", R"("state":"joining")"})
        EXPECT_NE(reply.body.find(part), std::string::npos) << part << " in " << reply.body;
    const Reply other =
        run(request(router_->admin_endpoint(), "GET", "/v1/models", HeaderList{}, ""));
    expect_error(other, 404, "not_found");
}

TEST_F(ServerTest, HealthOfForeignServers) {
    add_nodes(3);
    nodes_[0]->health_status = 404;  // Knows no such path, but lives.
    nodes_[1]->health_status = 501;
    nodes_[2]->health_status = 500;
    for (const auto& node : nodes_) config_.nodes.push_back({node->id, node->address(), 1.0});
    start_router(nullptr);
    wait_metric("hearth_router_node_health", 2);
    wait_metric("hearth_router_ring_members", 1, "state=\"ejected\"");
    EXPECT_EQ(metric("hearth_router_node_health", "node-3"), 0);
}

TEST_F(ServerTest, DrainFinishesStreams) {
    start_with_store(1);
    Gate arrived(io_), release(io_);
    nodes_[0]->behaviour = [&](FakeNode&, ServerExchange& exchange) -> Task<void> {
        HeaderList headers{{"content-type", "text/event-stream"}};
        (void)co_await exchange.start_stream(200, std::move(headers));
        (void)co_await exchange.write("data: one\n\n");
        arrived.open();
        co_await release.wait();
        (void)co_await exchange.write("data: [DONE]\n\n");
        (void)co_await exchange.finish_stream();
    };
    HeaderList headers{{"x-session-id", "s"}};
    auto turn = start_task(
        io_, request(router_->endpoint(), "POST", "/v1/chat/completions", headers, kTurn));
    run_until_done(io_, arrived.wait());
    const std::string address = router_->endpoint();
    const auto drain = [](RouterServer& server) -> Task<int> {
        co_await server.drain_and_stop(std::chrono::seconds(20));
        co_return 0;
    };
    auto drained = start_task(io_, drain(*router_));
    const auto refused = [this, address]() -> Task<bool> {
        auto opened = co_await client_.open(address, true);
        co_return !opened.ok();
    };
    EXPECT_TRUE(run(refused())) << "accepts no more";
    EXPECT_FALSE(drained->done());
    release.open();
    const Reply reply = finish_task(io_, turn);
    EXPECT_TRUE(reply.whole);
    EXPECT_NE(reply.body.find("[DONE]"), std::string::npos);
    finish_task(io_, drained);
    router_.reset();
}

TEST_F(ServerTest, DrainCutsWhatTakesTooLong) {
    start_with_store(1);
    Gate arrived(io_);
    nodes_[0]->behaviour = [&](FakeNode&, ServerExchange& exchange) -> Task<void> {
        arrived.open();
        (void)co_await exchange.wait_client_gone();
        exchange.abort();
    };
    HeaderList headers{{"x-session-id", "s"}};
    auto turn = start_task(
        io_, request(router_->endpoint(), "POST", "/v1/chat/completions", headers, kTurn));
    run_until_done(io_, arrived.wait());
    finish(router_->drain_and_stop(milliseconds(5)));
    EXPECT_FALSE(finish_task(io_, turn).whole);
    router_.reset();
}

TEST_F(ServerTest, AServerIsDestroyedWithTurnsOnIt) {
    start_with_store(1);
    Gate arrived(io_);
    nodes_[0]->behaviour = [&](FakeNode&, ServerExchange& exchange) -> Task<void> {
        arrived.open();
        (void)co_await exchange.wait_client_gone();
        exchange.abort();
    };
    HeaderList headers{{"x-session-id", "s"}};
    auto turn = start_task(
        io_, request(router_->endpoint(), "POST", "/v1/chat/completions", headers, kTurn));
    run_until_done(io_, arrived.wait());
    router_.reset();
    EXPECT_FALSE(finish_task(io_, turn).whole);
}

TEST_F(ServerTest, AddressInUseIsAnError) {
    start_with_store(1);
    RouterConfig config = config_;
    config.listen = router_->endpoint();
    RouterServer second(io_, config, nullptr, clock_);
    const Result<void> started = second.start();
    ASSERT_FALSE(started.ok());
    EXPECT_NE(started.error().message.find(config.listen), std::string::npos);
}

}  // namespace
}  // namespace hearth
