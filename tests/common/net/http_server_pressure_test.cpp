// HttpServer under attack: who goes when it is full, and how long slow clients may be slow.
#include <gtest/gtest.h>

#include "tests/common/net/server_site.h"

namespace hearth {
namespace {

class HttpServerPressureTest : public HttpServerTest {
  protected:
    bool closed(RawClient& client) {
        std::string rest;
        run_until_done(io_, talk_to(client, "", rest));
        return rest.empty();
    }
    void expect_open(RawClient& client) {
        std::string answer;
        run_until_done(io_,
                       exchange(client, "GET /x HTTP/1.1\r\nHost: a\r\n\r\n", "plain", answer));
        EXPECT_TRUE(answer.ends_with("plain")) << answer;
    }
};

TEST_F(HttpServerPressureTest, AFullServerClosesWhoWaitedLongest) {
    ServerLimits limits;
    limits.connections_max = 3;
    start(limits);
    RawClient old(io_, server_->port());
    expect_open(old);
    RawClient half(io_, server_->port());
    run_until_done(io_, half.send("GET /x HTTP/1.1\r\nHo"));
    RawClient young(io_, server_->port());
    expect_open(young);
    RawClient first(io_, server_->port());
    expect_open(first);  // Takes the place of the oldest idle one.
    EXPECT_TRUE(closed(old));
    expect_open(young);
    ASSERT_TRUE(run_until(io_, [&] { return server_->connections() == 3; }));
}

TEST_F(HttpServerPressureTest, HalfHeadsGoTooAndNobodyWhoIsServed) {
    ServerLimits limits;
    limits.connections_max = 2;
    start(limits);
    RawClient older(io_, server_->port());
    run_until_done(io_, older.send("GET /x HTTP/1.1\r\n"));
    RawClient busy(io_, server_->port());
    run_until_done(io_, busy.send("GET /gone HTTP/1.1\r\nHost: a\r\n\r\n"));
    ASSERT_TRUE(run_until(io_, [&] { return seen_.waiting == 1; }));
    RawClient newcomer(io_, server_->port());
    expect_open(newcomer);
    EXPECT_TRUE(closed(older));
    EXPECT_EQ(seen_.waiting, 1);  // Who is being served stays.
}

TEST_F(HttpServerPressureTest, OneAddressHasItsShare) {
    ServerLimits limits;
    limits.connections_per_address_max = 2;
    start(limits);
    RawClient one(io_, server_->port());
    RawClient two(io_, server_->port());
    expect_open(one);
    expect_open(two);
    const std::string answer = talk("");
    EXPECT_TRUE(answer.starts_with("HTTP/1.1 503 ")) << answer;
    one.close();
    ASSERT_TRUE(run_until(io_, [&] { return server_->connections() == 1; }));
    RawClient three(io_, server_->port());
    expect_open(three);
}

Task<void> trickle(RawClient& client, asio::io_context& io, int bytes, bool chunked) {
    const std::string framing = chunked ? "Transfer-Encoding: chunked" : "Content-Length: 100";
    co_await client.send("POST /echo HTTP/1.1\r\nHost: a\r\n" + framing + "\r\n\r\n");
    asio::steady_timer pause(io);
    const std::string one = chunked ? "1\r\na\r\n" : "a";
    for (int i = 0; i < bytes; ++i) {
        pause.expires_after(milliseconds(5));
        co_await pause.async_wait(asio::use_awaitable);
        co_await client.send(one);
    }
}

TEST_F(HttpServerPressureTest, BodiesThatTrickleAreCut) {
    ServerLimits limits;
    limits.body_rate_min = 100'000;
    limits.body_window = milliseconds(50);
    for (const bool chunked : {false, true}) {
        start(limits);
        RawClient client(io_, server_->port());
        std::string answer;
        run_until_done(io_, trickle(client, io_, 30, chunked));
        run_until_done(io_, exchange(client, "", "bad body", answer));
        EXPECT_TRUE(answer.starts_with("HTTP/1.1 408 ")) << answer;
        ASSERT_TRUE(seen_.body_error.has_value());
        EXPECT_EQ(seen_.body_error->code, ErrorCode::kTimeout);
        seen_.body_error.reset();
    }
}

TEST_F(HttpServerPressureTest, BodiesAtTheirRateArriveOverManyWindows) {
    ServerLimits limits;
    limits.body_rate_min = 10;
    limits.body_window = milliseconds(40);
    start(limits);
    RawClient client(io_, server_->port());
    std::string answer;
    run_until_done(io_, trickle(client, io_, 100, false));
    run_until_done(io_, exchange(client, "", "]", answer));
    EXPECT_TRUE(answer.starts_with("HTTP/1.1 200 ")) << answer;
}

// Sends much, to a client that reads a little now and then.
Task<void> pour(ServerExchange& exchange, std::optional<Error>& failure) {
    const std::string piece(256 * 1024, 'x');
    (void)co_await exchange.start_stream(200, HeaderList{});
    for (int i = 0; i < 1000 && !failure; ++i) {
        const Result<void> sent = co_await exchange.write(piece);
        if (!sent) failure = sent.error();
    }
}

Task<void> sip(RawClient& client, asio::io_context& io, const std::optional<Error>& failure) {
    co_await client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    asio::steady_timer pause(io);
    while (!failure) {
        pause.expires_after(milliseconds(5));
        co_await pause.async_wait(asio::use_awaitable);
        char byte = 0;
        boost::system::error_code ignored;
        client.socket().read_some(asio::buffer(&byte, 1), ignored);
    }
}

TEST_F(HttpServerPressureTest, ReadersThatSipAreCut) {
    std::optional<Error> failure;
    HttpServer::Options options;
    options.limits.write_timeout = milliseconds(100);
    server_.emplace(io_, options, [&](ServerExchange& e) { return pour(e, failure); });
    ASSERT_TRUE(server_->start().ok());
    RawClient client(io_, server_->port());
    client.socket().set_option(asio::socket_base::receive_buffer_size(4096));
    run_until_done(io_, sip(client, io_, failure));
    ASSERT_TRUE(failure.has_value());
    EXPECT_EQ(failure->code, ErrorCode::kTimeout) << failure->message;
}

}  // namespace
}  // namespace hearth
