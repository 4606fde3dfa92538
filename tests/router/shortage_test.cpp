// Turns while something runs out: room for bodies, descriptors, or the time of the turn itself.
#include <sys/resource.h>

#include <sstream>

#include "router/core.h"
#include "router/relay/request_body.h"
#include "router/relay/turn.h"
#include "tests/router/fleet.h"

namespace hearth {
namespace {

class ShortageTest : public RouterTest {
  protected:
    // A core with one static node, without listeners and loops.
    std::shared_ptr<RouterCore> core_with_node() {
        add_nodes(1);
        config_.nodes.push_back({nodes_[0]->id, nodes_[0]->address(), 1.0});
        return std::make_shared<RouterCore>(io_, config_, nullptr, clock_);
    }
    Reply post_to(const HttpServer& server, const std::string& body) {
        HeaderList headers{{"x-session-id", "s"}};
        return run(request(server.endpoint(), "POST", "/v1/chat/completions", headers, body));
    }
};

TEST_F(ShortageTest, ATurnThatNeedNotBeKeptPassesWithoutRoomToKeepIt) {
    const std::shared_ptr<RouterCore> core = core_with_node();
    HttpServer server(io_, HttpServer::Options{}, [core](ServerExchange& exchange) {
        return serve_turn(core, exchange, Endpoint::kChatCompletions);
    });
    ASSERT_TRUE(server.start().ok());
    core->kept_bytes = RequestBody::kKeptBytesMax;
    for (const std::size_t spaces : {0u, 100'000u}) {
        const std::string body = std::string(spaces, ' ') + kTurn;
        const Reply reply = post_to(server, body);
        EXPECT_EQ(reply.status, 200) << reply.body;
        EXPECT_TRUE(nodes_[0]->turns.back().body == body);
    }
    EXPECT_EQ(core->kept_bytes, RequestBody::kKeptBytesMax);
    core->kept_bytes = 0;
    finish(server.drain(milliseconds(0)));
}

// Lowers the bound on descriptors, so that none can be opened.
class NoDescriptors {
  public:
    NoDescriptors() {
        getrlimit(RLIMIT_NOFILE, &before_);
        const rlimit none{0, before_.rlim_max};
        setrlimit(RLIMIT_NOFILE, &none);
    }
    ~NoDescriptors() { setrlimit(RLIMIT_NOFILE, &before_); }
    NoDescriptors(const NoDescriptors&) = delete;
    NoDescriptors& operator=(const NoDescriptors&) = delete;

  private:
    rlimit before_{};
};

Task<void> read_answer(RawClient& client, std::string& out) {
    out = co_await client.read_until("}}");
}

TEST_F(ShortageTest, ALackOfDescriptorsIsNoFaultOfTheNodes) {
#if defined(__SANITIZE_ADDRESS__)
    GTEST_SKIP() << "UBSan looks at objects through pipes, for which there are no descriptors here";
#endif
    config_.health_interval_ms = 60'000;  // No probe repairs what the turn did.
    start_with_store(2);
    RawClient raw(io_, split_host_port(router_->endpoint())->second);
    const std::string body = kTurn;
    std::string answer;
    // The first request makes the router accept the connection while it still can.
    run_until_done(io_, raw.send("GET /v1/x HTTP/1.1\r\nhost: x\r\n\r\n"));
    run_until_done(io_, read_answer(raw, answer));
    ASSERT_NE(answer.find("404"), std::string::npos) << answer;
    for (const auto& node : nodes_) {  // Ends the connections that the probes left.
        node->stop();
        node->start();
    }
    {
        const NoDescriptors none;
        run_until_done(io_, raw.send("POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\n"
                                     "x-session-id: s\r\ncontent-length: " +
                                     std::to_string(body.size()) + "\r\n\r\n" + body));
        run_until_done(io_, read_answer(raw, answer));
    }
    EXPECT_NE(answer.find("HTTP/1.1 503"), std::string::npos) << answer;
    EXPECT_NE(answer.find("\"code\":\"overloaded\""), std::string::npos) << answer;
    EXPECT_EQ(metric("hearth_router_node_health"), 2) << "both nodes are well";
    EXPECT_EQ(post("s").status, 200);
}

// A connection whose turn is cancelled in the very step that answers it.
class CancelledExchange final : public ServerExchange {
  public:
    CancelledExchange(const RequestHead& head, std::string body)
        : head_(head), body_(std::move(body)) {}

    asio::cancellation_signal cancel;
    int watches = 0;  // That are running.

    const RequestHead& head() const override { return head_; }
    std::string remote_address() const override { return "test"; }
    Task<Result<std::size_t>> read_body_some(asio::mutable_buffer buffer) override {
        const std::size_t n = asio::buffer_copy(buffer, asio::buffer(body_));
        body_.erase(0, n);
        co_return n;
    }
    Task<Result<std::string>> read_body(std::size_t) override { co_return std::string(); }
    std::string_view take_body() override { return {}; }
    Task<Result<void>> respond(int, HeaderList, std::string_view) override {
        ADD_FAILURE() << "the router answered itself";
        co_return Result<void>{};
    }
    Task<Result<void>> respond(int, const std::vector<HeaderField>&, std::string_view) override {
        ADD_FAILURE() << "the router answered itself";
        co_return Result<void>{};
    }
    bool respond_now(int, const std::vector<HeaderField>&, std::string_view,
                     Result<void>&) override {
        return false;
    }
    Task<Result<void>> write_rest() override {
        answered_ = true;
        EXPECT_EQ(watches, 1);
        cancel.emit(asio::cancellation_type::terminal);
        co_return Result<void>{};
    }
    Task<Result<void>> start_stream(int, HeaderList, std::optional<std::uint64_t>) override {
        co_return Result<void>{};
    }
    void start_stream(int, const std::vector<HeaderField>&) override {}
    Task<Result<void>> write(std::string_view) override { co_return Result<void>{}; }
    bool write_now(std::string_view, Result<void>&) override { return true; }
    Task<Result<void>> finish_stream() override { co_return Result<void>{}; }
    void abort() override {}
    bool answered() const override { return answered_; }
    Task<bool> wait_client_gone() override { co_return false; }
    void watch_client(std::function<void()>) override { ++watches; }
    void unwatch_client() override { --watches; }

  private:
    const RequestHead head_;
    std::string body_;
    bool answered_ = false;
};

TEST_F(ShortageTest, AWatchNeverOutlivesItsTurn) {
    const std::shared_ptr<RouterCore> core = core_with_node();
    RequestHead head;
    head.method = "POST";
    head.target = head.path = "/v1/chat/completions";
    head.fields = {{"x-session-id", "s"}};
    head.body = BodyKind::kLength;
    head.content_length = std::string_view(kTurn).size();
    CancelledExchange exchange(head, kTurn);
    bool ended = false;
    const auto over = [&](std::exception_ptr) { ended = true; };
    asio::co_spawn(io_, serve_turn(core, exchange, Endpoint::kChatCompletions),
                   asio::bind_cancellation_slot(exchange.cancel.slot(), over));
    ASSERT_TRUE(run_until(io_, [&] { return ended; }));
    EXPECT_TRUE(exchange.answered());
    EXPECT_EQ(exchange.watches, 0) << "it reads from a connection that may be gone";
}

}  // namespace
}  // namespace hearth
