// HttpServer's life: its bound, draining, and what is left when server or loop go.
#include <gtest/gtest.h>

#include "tests/common/net/server_site.h"

namespace hearth {
namespace {

class HttpServerLifeTest : public HttpServerTest {};

TEST_F(HttpServerLifeTest, ConnectionsAreBounded) {
    ServerLimits limits;
    limits.connections_max = 2;
    start(limits);
    RawClient one(io_, server_->port());
    RawClient two(io_, server_->port());
    for (RawClient* busy : {&one, &two})
        run_until_done(io_, busy->send("GET /gone HTTP/1.1\r\nHost: a\r\n\r\n"));
    ASSERT_TRUE(run_until(io_, [&] { return seen_.waiting == 2; }));
    const std::string answer = talk("");
    EXPECT_TRUE(answer.starts_with("HTTP/1.1 503 ")) << answer;
    EXPECT_NE(answer.find("\"error\""), std::string::npos) << answer;
    one.close();
    ASSERT_TRUE(run_until(io_, [&] { return server_->connections() == 1; }));
    RawClient three(io_, server_->port());
    EXPECT_TRUE(run_until(io_, [&] { return server_->connections() == 2; }));
}

TEST_F(HttpServerLifeTest, DrainClosesIdleAndLetsBusyFinish) {
    start();
    RawClient idle(io_, server_->port());
    RawClient busy(io_, server_->port());
    std::string answer;
    run_until_done(io_, exchange(idle, "GET /x HTTP/1.1\r\nHost: a\r\n\r\n", "plain", answer));
    run_until_done(io_, busy.send("GET /hold HTTP/1.1\r\nHost: a\r\n\r\n"));
    ASSERT_TRUE(run_until(io_, [&] { return seen_.waiting == 1; }));
    bool drained = false;
    asio::co_spawn(io_, server_->drain(std::chrono::seconds(60)),
                   [&](std::exception_ptr) { drained = true; });
    ASSERT_TRUE(run_until(io_, [&] { return server_->connections() == 1; }));
    EXPECT_FALSE(drained);
    run_until_done(io_, talk_to(idle, "", answer));
    EXPECT_EQ(answer, "");
    release_.cancel();
    run_until_done(io_, talk_to(busy, "", answer));
    EXPECT_NE(answer.find("connection: close"), std::string::npos) << answer;
    EXPECT_TRUE(answer.ends_with("plain")) << answer;
    EXPECT_TRUE(run_until(io_, [&] { return drained; }));
    boost::system::error_code ec;
    Tcp::socket late(io_);
    late.connect(Tcp::endpoint(asio::ip::address_v4::loopback(), server_->port()), ec);
    EXPECT_EQ(ec, asio::error::connection_refused);
}

TEST_F(HttpServerLifeTest, DrainCutsWhatOutlivesTheGrace) {
    start();
    RawClient client(io_, server_->port());
    run_until_done(io_, client.send("GET /gone HTTP/1.1\r\nHost: a\r\n\r\n"));
    RawClient other(io_, server_->port());
    run_until_done(io_, other.send("GET /hold HTTP/1.1\r\nHost: a\r\n\r\n"));
    ASSERT_TRUE(run_until(io_, [&] { return seen_.waiting == 2; }));
    run_until_done(io_, server_->drain(milliseconds(20)));
    EXPECT_EQ(server_->connections(), 0u);
}

// Unwinds a handler's locals when the server goes, whatever the handler waits for.
struct Witness {
    bool& gone;
    ~Witness() { gone = true; }
};

TEST_F(HttpServerLifeTest, DestructorUnwindsHandlersWhenTheLoopHasStopped) {
    bool gone = false;
    HttpServer::Options options;
    bool waiting = false;
    asio::steady_timer& release = release_;
    const auto stuck = [](asio::steady_timer& timer, bool& in, bool& out) -> Task<void> {
        Witness witness{out};
        in = true;
        co_await timer.async_wait(asio::use_awaitable);
    };
    server_.emplace(io_, options, [&](ServerExchange&) { return stuck(release, waiting, gone); });
    ASSERT_TRUE(server_->start().ok());
    RawClient client(io_, server_->port());
    run_until_done(io_, client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n"));
    ASSERT_TRUE(run_until(io_, [&] { return waiting; }));
    EXPECT_FALSE(gone);
    io_.stop();
    server_.reset();
    EXPECT_TRUE(gone);
    EXPECT_TRUE(io_.stopped());
}

TEST_F(HttpServerLifeTest, DestroyedOnItsRunningLoopItUnwindsLater) {
    start();
    RawClient client(io_, server_->port());
    run_until_done(io_, client.send("GET /gone HTTP/1.1\r\nHost: a\r\n\r\n"));
    ASSERT_TRUE(run_until(io_, [&] { return seen_.waiting == 1; }));
    asio::post(io_, [&] { server_.reset(); });
    std::string answer = "?";
    run_until_done(io_, talk_to(client, "", answer));
    EXPECT_EQ(answer, "");
    EXPECT_TRUE(run_until(io_, [&] { return seen_.waiting == 0; }));
    EXPECT_EQ(seen_.gone, 0);
}

TEST_F(HttpServerLifeTest, LoopMayDieWithConnectionsOpen) {
    bool gone = false;
    bool waiting = false;
    auto io = std::make_unique<asio::io_context>();
    auto timer = std::make_unique<asio::steady_timer>(*io, std::chrono::hours(1));
    asio::steady_timer& release = *timer;
    const auto stuck = [](asio::steady_timer& t, bool& in, bool& out) -> Task<void> {
        Witness witness{out};
        in = true;
        co_await t.async_wait(asio::use_awaitable);
    };
    auto server = std::make_unique<HttpServer>(
        *io, HttpServer::Options{}, [&](ServerExchange&) { return stuck(release, waiting, gone); });
    ASSERT_TRUE(server->start().ok());
    RawClient client(io_, server->port());
    run_until_done(io_, client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n"));
    ASSERT_TRUE(run_until(*io, [&] { return waiting; }));
    // Destroyed on the loop, which never turns again: the loop itself has to free what is left.
    asio::post(*io, [&] {
        server.reset();
        io->stop();
    });
    io->restart();
    io->run();
    EXPECT_FALSE(gone);
    timer.reset();
    io.reset();
    EXPECT_TRUE(gone);
}

TEST_F(HttpServerLifeTest, StopAcceptingFromAnyThread) {
    start();
    server_->stop_accepting();
    io_.restart();
    io_.poll();
    boost::system::error_code ec;
    Tcp::socket late(io_);
    late.connect(Tcp::endpoint(asio::ip::address_v4::loopback(), server_->port()), ec);
    EXPECT_EQ(ec, asio::error::connection_refused);
}

TEST_F(HttpServerLifeTest, ListenErrorsNameTheAddress) {
    start();
    HttpServer::Options options;
    options.port = server_->port();
    HttpServer second(io_, options, [](ServerExchange&) -> Task<void> { co_return; });
    const Result<void> started = second.start();
    ASSERT_FALSE(started.ok());
    EXPECT_EQ(started.error().code, ErrorCode::kUnavailable);
    EXPECT_NE(started.error().message.find(server_->endpoint()), std::string::npos);
}

TEST_F(HttpServerLifeTest, ReusePortSharesOnePort) {
    HttpServer::Options options;
    options.reuse_port = true;
    const HttpHandler handler = [](ServerExchange&) -> Task<void> { co_return; };
    HttpServer first(io_, options, handler);
    ASSERT_TRUE(first.start().ok());
    options.port = first.port();
    HttpServer second(io_, options, handler);
    EXPECT_TRUE(second.start().ok());
}

}  // namespace
}  // namespace hearth
