// Test support: a router with nodes that a test scripts, all on one loop, over real sockets.
#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "common/net/http_client.h"
#include "common/net/http_server.h"
#include "common/redis/memory_store.h"
#include "router/server.h"
#include "tests/common/net/loopback.h"
#include "tests/support/run_task.h"

namespace hearth {

using std::chrono::milliseconds;

// An event that coroutines wait for.
class Gate {
  public:
    explicit Gate(asio::io_context& io) : timer_(io, std::chrono::hours(1)) {}
    void open() {
        open_ = true;
        timer_.cancel();
    }
    Task<void> wait() {
        boost::system::error_code ignored;
        while (!open_)
            co_await timer_.async_wait(asio::redirect_error(asio::use_awaitable, ignored));
    }

  private:
    asio::steady_timer timer_;
    bool open_ = false;
};

struct NodeRequest {
    std::string method, target;
    std::vector<std::pair<std::string, std::string>> headers;  // Names in lower case.
    BodyKind body_kind = BodyKind::kNone;
    std::string body;

    // Values of a field, joined by '|'.
    std::string header(std::string_view name) const {
        std::string out;
        for (const auto& [key, value] : headers)
            if (key == name) out += (out.empty() ? "" : "|") + value;
        return out;
    }
};

inline NodeRequest request_of(const RequestHead& head) {
    NodeRequest request{std::string(head.method), std::string(head.target), {}, head.body, {}};
    for (const HeaderField& field : head.fields) {
        std::string name(field.name);
        for (char& c : name) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
        request.headers.emplace_back(name, field.value);
    }
    return request;
}

// A node whose answer to a turn is the test's. Records every turn; knows /health and /v1/models.
class FakeNode {
  public:
    using Behaviour = std::function<Task<void>(FakeNode&, ServerExchange&)>;

    FakeNode(asio::io_context& io, std::string node_id) : id(std::move(node_id)), io_(io) {
        models = R"({"object":"list","data":[{"id":"m","object":"model"}]})";
        start();
    }
    void start() {
        HttpServer::Options options;
        options.port = port_;
        server_ = std::make_unique<HttpServer>(
            io_, options, [this](ServerExchange& exchange) { return serve(exchange); });
        const Result<void> started = server_->start();
        ASSERT_TRUE(started.ok()) << started.error().message;
        port_ = server_->port();
    }
    void stop() { server_.reset(); }
    std::string address() const { return "127.0.0.1:" + std::to_string(port_); }
    std::uint16_t port() const { return port_; }

    static Task<void> answer_json(FakeNode& node, ServerExchange& exchange) {
        HeaderList headers{{"content-type", "application/json"}, {"hearth-node", node.id}};
        const std::string body = "{\"node\":\"" + node.id + "\"}";
        (void)co_await exchange.respond(200, std::move(headers), body);
    }

    const std::string id;
    Behaviour behaviour = answer_json;
    bool read_body = true;  // Before the behaviour runs.
    int health_status = 200;
    bool signs = false;  // Its probes, as Hearth's own nodes do.
    std::string models;
    std::string models_key;  // What `authorization` must be for them; empty = anything.
    std::vector<NodeRequest> turns;
    int probes = 0;

  private:
    Task<void> serve(ServerExchange& exchange) {
        const std::string path(exchange.head().path);
        if (path == "/health") {
            ++probes;
            HeaderList signature;
            if (signs) signature.emplace_back("hearth-node", id);
            (void)co_await exchange.respond(health_status, signature, "");
            co_return;
        }
        if (path == "/v1/models") {
            const bool allowed =
                models_key.empty() || exchange.head().find("authorization") == models_key;
            const int status = allowed ? 200 : 401;
            (void)co_await exchange.respond(status, HeaderList{}, models);
            co_return;
        }
        turns.push_back(request_of(exchange.head()));
        if (read_body) {
            auto body = co_await exchange.read_body(64 << 20);
            if (!body.ok()) co_return;
            turns.back().body = std::move(*body);
        }
        co_await behaviour(*this, exchange);
    }

    asio::io_context& io_;
    std::uint16_t port_ = 0;
    std::unique_ptr<HttpServer> server_;
};

struct Reply {
    int status = 0;  // 0 = no answer.
    std::string body;
    std::map<std::string, std::string> headers;
    bool whole = false;  // The answer had its proper end.

    std::string route(const std::string& part) const {
        const auto found = headers.find("hearth-route");
        if (found == headers.end()) return "-";
        const std::string text = ";" + found->second + ";";
        const std::size_t at = text.find(";" + part + "=");
        if (at == std::string::npos) return "-";
        const std::size_t begin = at + part.size() + 2;
        return text.substr(begin, text.find(';', begin) - begin);
    }
};

constexpr const char* kTurn = R"({"model":"m","messages":[{"role":"user","content":"hi"}]})";

// A store that can be switched off, as if Redis had died, or that answers claims too late.
class SwitchedStore final : public MetadataStore {
  public:
    explicit SwitchedStore(const Clock& clock) : store_(clock) {}
    bool on = true;
    bool late = false;
    int lookups = 0;
    MemoryStore& memory() { return store_; }

    Task<Result<void>> publish_node(const NodeRecord& record, milliseconds ttl) override {
        return store_.publish_node(record, ttl);
    }
    Task<Result<void>> remove_node(const std::string& id, const std::string& generation) override {
        return store_.remove_node(id, generation);
    }
    Task<Result<std::vector<NodeRecord>>> nodes() override {
        if (!on) co_return make_error(ErrorCode::kUnavailable, "switched off");
        auto found = co_await store_.nodes();
        co_return found;
    }
    Task<Result<void>> publish_session(const SessionKey& key, const SessionRecord& record,
                                       milliseconds ttl) override {
        return store_.publish_session(key, record, ttl);
    }
    Task<Result<std::optional<SessionRecord>>> find_session(const SessionKey& key) override {
        ++lookups;
        if (!on) co_return make_error(ErrorCode::kUnavailable, "switched off");
        auto found = co_await store_.find_session(key);
        co_return found;
    }
    Task<Result<SessionRecord>> claim_session(const SessionKey& key, const SessionRecord& record,
                                              milliseconds ttl) override {
        ++lookups;
        if (!on) co_return make_error(ErrorCode::kUnavailable, "switched off");
        auto stands = co_await store_.claim_session(key, record, ttl);
        if (late) co_return make_error(ErrorCode::kTimeout, "too late");
        co_return stands;
    }
    Task<Result<void>> pin_session(const SessionKey& key, const std::string& id,
                                   milliseconds ttl) override {
        return store_.pin_session(key, id, ttl);
    }
    Task<Result<void>> erase_session(const SessionKey& key) override {
        return store_.erase_session(key);
    }
    Task<Result<void>> set_drained(const std::string& id, bool drained) override {
        return store_.set_drained(id, drained);
    }
    Task<Result<std::string>> memory_name(const std::string& candidate) override {
        if (!on) co_return make_error(ErrorCode::kUnavailable, "switched off");
        auto found = co_await store_.memory_name(candidate);
        co_return found;
    }
    Task<Result<std::map<std::string, bool>>> drains() override {
        if (!on) co_return make_error(ErrorCode::kUnavailable, "switched off");
        auto found = co_await store_.drains();
        co_return found;
    }
    Task<Result<void>> append_event(std::string, std::string, std::string) override {
        co_return Result<void>{};
    }
    bool up() const override { return on; }

  private:
    MemoryStore store_;
};

class RouterTest : public testing::Test {
  protected:
    RouterTest() : store_(clock_), client_(io_) {
        config_.listen = "127.0.0.1:0";
        config_.admin_listen = "127.0.0.1:0";
        config_.membership_refresh_ms = 10;
        config_.health_interval_ms = 10;
        config_.session_secret = "test";
    }
    ~RouterTest() override {
        if (router_ != nullptr) finish(router_->drain_and_stop(milliseconds(0)));
    }

    // Runs a task of a test to its end.
    template <typename T>
    T run(Task<T> task) {
        return run_task(io_, std::move(task));
    }
    void finish(Task<void> task) { run_until_done(io_, std::move(task)); }

    void add_nodes(int count) {
        for (int n = 1; n <= count; ++n)
            nodes_.push_back(std::make_unique<FakeNode>(io_, "node-" + std::to_string(n)));
    }
    FakeNode& node(const std::string& id) {
        for (const auto& node : nodes_)
            if (node->id == id) return *node;
        throw std::runtime_error("no node " + id);
    }
    static NodeRecord record_of(const FakeNode& node) {
        NodeRecord record;
        record.node_id = node.id;
        record.generation = "1";
        record.address = node.address();
        record.state = NodeState::kReady;
        record.model = "m";
        return record;
    }
    void publish(const NodeRecord& record) {
        const Result<void> told = run(store_.publish_node(record, std::chrono::hours(1)));
        ASSERT_TRUE(told.ok());
    }
    void start_router(MetadataStore* store) {
        router_ = std::make_unique<RouterServer>(io_, config_, store, clock_);
        const Result<void> started = router_->start();
        ASSERT_TRUE(started.ok()) << started.error().message;
    }
    // Nodes that registered in the store, or nodes of a static list.
    void start_with_store(int count) {
        add_nodes(count);
        for (const auto& node : nodes_) publish(record_of(*node));
        start_router(&store_);
        wait_ready();
    }
    void start_static(int count) {
        add_nodes(count);
        for (const auto& node : nodes_) config_.nodes.push_back({node->id, node->address(), 1.0});
        start_router(nullptr);
        wait_ready();
    }
    void wait_ready() {
        wait_metric("hearth_router_node_health", static_cast<double>(nodes_.size()));
    }

    Task<Reply> request(std::string address, std::string method, std::string target,
                        HeaderList headers, std::string body) {
        Reply reply;
        auto opened = co_await client_.open(address, true);
        if (!opened.ok()) co_return reply;
        ClientExchange& exchange = **opened;
        ClientExchange::RequestOptions options;
        options.method = method;
        options.target = target;
        options.body = body.empty() ? BodyKind::kNone : BodyKind::kLength;
        options.content_length = body.size();
        std::vector<HeaderField> fields;
        for (const auto& [name, value] : headers) fields.push_back({name, value});
        const Result<void> sent = co_await exchange.send_head(options, fields, body);
        if (!sent.ok()) co_return reply;
        const auto head = co_await exchange.read_head(std::chrono::seconds(20));
        if (!head.ok()) co_return reply;
        reply.status = (*head)->status;
        for (const HeaderField& field : (*head)->fields) {
            std::string name(field.name);
            for (char& c : name) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
            reply.headers[name] = field.value;
        }
        while (true) {
            const auto piece = co_await exchange.read_body_some(std::chrono::seconds(20));
            if (!piece.ok()) break;
            reply.whole = piece->empty();
            if (reply.whole) break;
            reply.body.append(*piece);
        }
        co_return reply;
    }
    // One turn; no session header when `session` is empty.
    Reply post(const std::string& session, const std::string& body = kTurn,
               HeaderList headers = {}) {
        if (!session.empty()) headers.emplace_back("x-session-id", session);
        return run(
            request(router_->endpoint(), "POST", "/v1/chat/completions", std::move(headers), body));
    }
    Reply get(const std::string& path) {
        return run(request(router_->endpoint(), "GET", path, HeaderList{}, ""));
    }

    // Sum of the samples of a metric whose labels hold `label`.
    double metric(const std::string& name, const std::string& label = "") {
        std::istringstream lines(get("/metrics").body);
        double sum = 0;
        for (std::string line; std::getline(lines, line);) {
            const bool named = line.rfind(name, 0) == 0 && line.size() > name.size() &&
                               (line[name.size()] == '{' || line[name.size()] == ' ');
            if (named && line.find(label) != std::string::npos)
                sum += std::stod(line.substr(line.rfind(' ') + 1));
        }
        return sum;
    }
    // Asks again and again, with the loop running between.
    void wait_metric(const std::string& name, double value, const std::string& label = "") {
        const MonotonicNs end = clock_.now() + 10 * kSecond;
        double seen = metric(name, label);
        while (seen != value && clock_.now() < end) seen = metric(name, label);
        ASSERT_EQ(seen, value) << name << " " << label;
    }

    const Clock& clock_ = SystemClock::instance();
    asio::io_context io_;
    SwitchedStore store_;
    HttpClient client_;
    RouterConfig config_;
    std::vector<std::unique_ptr<FakeNode>> nodes_;
    std::unique_ptr<RouterServer> router_;
};

}  // namespace hearth
