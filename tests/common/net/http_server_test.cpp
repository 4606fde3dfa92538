// HttpServer over real sockets: framing, limits, deadlines, clients that leave.
#include <gtest/gtest.h>

#include "tests/common/net/server_site.h"

namespace hearth {
namespace {

TEST_F(HttpServerTest, AnswersAndKeepsTheConnection) {
    start();
    RawClient client(io_, server_->port());
    for (int i = 0; i < 3; ++i) {
        std::string answer;
        run_until_done(io_,
                       exchange(client, "GET /x HTTP/1.1\r\nHost: a\r\n\r\n", "plain", answer));
        EXPECT_TRUE(answer.starts_with("HTTP/1.1 200 OK\r\n")) << answer;
        EXPECT_NE(answer.find("\r\ncontent-length: 5\r\n"), std::string::npos) << answer;
        EXPECT_NE(answer.find("\r\ndate: "), std::string::npos) << answer;
        EXPECT_EQ(answer.find("connection:"), std::string::npos) << answer;
    }
    EXPECT_EQ(seen_.requests, 3);
    EXPECT_EQ(seen_.remote, "127.0.0.1");
    EXPECT_EQ(server_->connections(), 1u);
    client.close();
    EXPECT_TRUE(run_until(io_, [&] { return server_->connections() == 0; }));
}

TEST_F(HttpServerTest, PipelinedRequestsAreAnsweredInOrder) {
    start();
    const std::string answer = talk(
        "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\none"
        "GET /stream HTTP/1.1\r\nHost: a\r\n\r\n"
        "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
        "2\r\nth\r\n3;x=y\r\nree\r\n0\r\nX: y\r\n\r\n"
        "GET /x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    EXPECT_EQ(count_of(answer, "HTTP/1.1 200 OK"), 4) << answer;
    const std::size_t one = answer.find("POST [one]");
    const std::size_t two = answer.find("9\r\ndata: 2\n\n\r\n0\r\n\r\n");
    const std::size_t three = answer.find("POST [three]");
    const std::size_t four = answer.find("\r\n\r\nplain");
    EXPECT_LT(one, two);
    EXPECT_LT(two, three);
    EXPECT_LT(three, four);
    EXPECT_NE(four, std::string::npos) << answer;
    EXPECT_EQ(count_of(answer, "connection: close"), 1);
}

TEST_F(HttpServerTest, RequestsArriveByteByByte) {
    start();
    RawClient client(io_, server_->port());
    const std::string bytes =
        "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
        "4\r\nbyte\r\n0\r\n\r\n";
    for (std::size_t i = 0; i + 1 < bytes.size(); ++i) {
        run_until_done(io_, client.send(bytes.substr(i, 1)));
        io_.restart();
        io_.poll();
    }
    std::string answer;
    run_until_done(io_, exchange(client, bytes.substr(bytes.size() - 1), "]", answer));
    EXPECT_NE(answer.find("POST [byte]"), std::string::npos) << answer;
}

TEST_F(HttpServerTest, HeadHasNoBody) {
    start();
    const std::string answer = talk(
        "HEAD /x HTTP/1.1\r\nHost: a\r\n\r\nHEAD /stream HTTP/1.1\r\nHost: a\r\n\r\n"
        "HEAD /x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    EXPECT_EQ(count_of(answer, "HTTP/1.1 200 OK"), 3) << answer;
    EXPECT_EQ(count_of(answer, "content-length: 5"), 2) << answer;
    EXPECT_EQ(count_of(answer, "\r\n\r\nHTTP/1.1"), 2) << answer;
    EXPECT_TRUE(answer.ends_with("\r\n\r\n")) << answer;
}

TEST_F(HttpServerTest, NoContentHasNoFraming) {
    start();
    const std::string answer = talk("GET /none HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    EXPECT_TRUE(answer.starts_with("HTTP/1.1 204 No Content\r\n")) << answer;
    EXPECT_EQ(answer.find("content-length"), std::string::npos) << answer;
}

TEST_F(HttpServerTest, Http10) {
    start();
    std::string answer = talk("GET /x HTTP/1.0\r\n\r\n");
    EXPECT_NE(answer.find("connection: close"), std::string::npos) << answer;
    EXPECT_TRUE(answer.ends_with("\r\n\r\nplain")) << answer;
    // A stream without chunks, ended by the close.
    answer = talk("GET /stream HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    EXPECT_TRUE(answer.ends_with("\r\n\r\ndata: 0\n\ndata: 1\n\ndata: 2\n\n")) << answer;
    EXPECT_EQ(answer.find("transfer-encoding"), std::string::npos) << answer;
    RawClient client(io_, server_->port());
    for (int i = 0; i < 2; ++i) {
        run_until_done(io_, exchange(client, "GET /x HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
                                     "plain", answer));
        EXPECT_NE(answer.find("connection: keep-alive"), std::string::npos) << answer;
    }
}

TEST_F(HttpServerTest, ContinueIsSentWhenTheBodyIsWanted) {
    start();
    RawClient client(io_, server_->port());
    std::string answer;
    run_until_done(io_, exchange(client,
                                 "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n"
                                 "Expect: 100-continue\r\n\r\n",
                                 "\r\n\r\n", answer));
    EXPECT_EQ(answer, "HTTP/1.1 100 Continue\r\n\r\n");
    run_until_done(io_, exchange(client, "wait", "]", answer));
    EXPECT_NE(answer.find("POST [wait]"), std::string::npos) << answer;
    // An answer instead of 100 leaves it open whether the body comes: the connection must end.
    answer =
        talk("POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n");
    EXPECT_EQ(count_of(answer, "100 Continue"), 0) << answer;
    EXPECT_NE(answer.find("connection: close"), std::string::npos) << answer;
}

TEST_F(HttpServerTest, UnreadBodyIsSkippedOrTheConnectionEnds) {
    start();
    std::string answer = talk(
        "POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello"
        "GET /x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    EXPECT_EQ(count_of(answer, "200 OK"), 2) << answer;
    // A body too large to skip: the answer arrives although the client is still sending.
    answer = talk("POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 3000000\r\n\r\n" +
                  std::string(3'000'000, 'x'));
    EXPECT_EQ(count_of(answer, "200 OK"), 1) << answer;
    EXPECT_NE(answer.find("connection: close"), std::string::npos) << answer;
}

TEST_F(HttpServerTest, BodyLimit) {
    start();
    std::string answer = talk("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 2000000\r\n\r\n" +
                              std::string(2'000'000, 'x'));
    EXPECT_TRUE(answer.starts_with("HTTP/1.1 413 Content Too Large")) << answer;
    EXPECT_NE(answer.find("connection: close"), std::string::npos) << answer;
    answer = talk("POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n65\r\n" +
                  std::string(101, 'x') + "\r\n0\r\n\r\n");
    EXPECT_TRUE(answer.starts_with("HTTP/1.1 413 ")) << answer;
    answer = talk(
        "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n"
        "Connection: close\r\n\r\n64\r\n" +
        std::string(100, 'x') + "\r\n0\r\n\r\n");
    EXPECT_TRUE(answer.starts_with("HTTP/1.1 200 ")) << answer;
}

TEST_F(HttpServerTest, MalformedChunksAreAnError) {
    start();
    const std::string answer =
        talk("POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n");
    EXPECT_TRUE(answer.starts_with("HTTP/1.1 400 ")) << answer;
    EXPECT_EQ(seen_.body_error->code, ErrorCode::kCorrupt);
}

TEST_F(HttpServerTest, BadHeadGetsAnErrorObjectAndTheConnectionEnds) {
    start();
    const std::string answer =
        talk("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\nGET /x HTTP/1.1\r\nHost: a\r\n\r\n");
    EXPECT_TRUE(answer.starts_with("HTTP/1.1 400 Bad Request\r\n")) << answer;
    EXPECT_EQ(count_of(answer, "HTTP/1.1"), 1) << answer;
    EXPECT_NE(answer.find("{\"error\":{\"message\":\"Host is repeated\""), std::string::npos);
    EXPECT_EQ(seen_.requests, 0);
}

TEST_F(HttpServerTest, HeadersCannotBeInjectedAndFramingIsOurs) {
    start();
    const std::string answer = talk("GET /inject HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    EXPECT_NE(answer.find("x-value: a  set-cookie: evil\r\n"), std::string::npos) << answer;
    EXPECT_NE(answer.find("content-length: 2\r\n"), std::string::npos) << answer;
    EXPECT_EQ(answer.find("999"), std::string::npos) << answer;
    EXPECT_EQ(answer.find("ransfer-"), std::string::npos) << answer;
}

TEST_F(HttpServerTest, HandlerBugsGive500) {
    start();
    for (const char* path : {"/throw", "/silent"}) {
        const std::string answer =
            talk(std::string("GET ") + path + " HTTP/1.1\r\nHost: a\r\n\r\n");
        EXPECT_TRUE(answer.starts_with("HTTP/1.1 500 ")) << answer;
        EXPECT_NE(answer.find("connection: close"), std::string::npos) << answer;
    }
    const std::string answer = talk("GET /throw-in-stream HTTP/1.1\r\nHost: a\r\n\r\n");
    EXPECT_EQ(answer.find("0\r\n\r\n", answer.find("some")), std::string::npos) << answer;
}

TEST_F(HttpServerTest, AbortedStreamsAreSeenAsBroken) {
    start();
    std::string answer = talk("GET /broken HTTP/1.1\r\nHost: a\r\n\r\n");
    EXPECT_NE(answer.find("data: 1"), std::string::npos) << answer;  // What was written arrives.
    EXPECT_FALSE(answer.ends_with("0\r\n\r\n")) << answer;
    RawClient client(io_, server_->port());
    run_until_done(io_, talk_to(client, "GET /broken HTTP/1.0\r\n\r\n", answer));
    EXPECT_TRUE(client.reset());
}

TEST_F(HttpServerTest, EmptyStreamEndsProperly) {
    start();
    const std::string answer =
        talk("GET /empty-stream HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    EXPECT_TRUE(answer.ends_with("\r\n\r\n0\r\n\r\n")) << answer;
}

TEST_F(HttpServerTest, SlowHeadIsCutShort) {
    ServerLimits limits;
    limits.head_timeout = milliseconds(30);
    start(limits);
    const std::string answer = talk("GET / HTTP/1.1\r\nHo");
    EXPECT_TRUE(answer.starts_with("HTTP/1.1 408 ")) << answer;
}

TEST_F(HttpServerTest, IdleConnectionIsClosedInSilence) {
    ServerLimits limits;
    limits.idle_timeout = milliseconds(30);
    start(limits);
    EXPECT_EQ(talk(""), "");
    const std::string answer = talk("GET /x HTTP/1.1\r\nHost: a\r\n\r\n");
    EXPECT_TRUE(answer.ends_with("plain")) << answer;
}

TEST_F(HttpServerTest, SlowBodyTimesOut) {
    ServerLimits limits;
    limits.body_timeout = milliseconds(30);
    start(limits);
    for (const char* framing : {"Content-Length: 10", "Transfer-Encoding: chunked"}) {
        const std::string answer =
            talk(std::string("POST /echo HTTP/1.1\r\nHost: a\r\n") + framing + "\r\n\r\n5");
        EXPECT_TRUE(answer.starts_with("HTTP/1.1 408 ")) << answer;
        EXPECT_EQ(seen_.body_error->code, ErrorCode::kTimeout);
    }
}

TEST_F(HttpServerTest, ClientThatDoesNotReadIsCut) {
    ServerLimits limits;
    limits.write_timeout = milliseconds(50);
    HttpServer::Options options;
    options.limits = limits;
    std::optional<Error> error;
    const auto flood = [](ServerExchange& exchange, std::optional<Error>& out) -> Task<void> {
        (void)co_await exchange.start_stream(200, HeaderList{});
        const std::string block(1 << 20, 'x');
        while (!out) {
            Result<void> sent = co_await exchange.write(block);
            if (!sent) out = sent.error();
        }
    };
    server_.emplace(io_, options, [&](ServerExchange& e) { return flood(e, error); });
    ASSERT_TRUE(server_->start().ok());
    RawClient client(io_, server_->port());
    run_until_done(io_, client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n"));
    ASSERT_TRUE(run_until(io_, [&] { return server_->connections() == 0 && error; }));
    EXPECT_EQ(error->code, ErrorCode::kTimeout);
}

TEST_F(HttpServerTest, WriteTimeoutBesideTheWaitIsTheClientsFault) {
    ServerLimits limits;
    limits.write_timeout = milliseconds(50);
    HttpServer::Options options;
    options.limits = limits;
    std::optional<bool> gone;
    const auto flood = [](ServerExchange& exchange) -> Task<void> {
        const std::string block(1 << 20, 'x');
        while (true) {
            Result<void> sent = co_await exchange.write(block);
            if (!sent) co_return;
        }
    };
    const auto serve = [flood](ServerExchange& exchange, std::optional<bool>& out) -> Task<void> {
        (void)co_await exchange.start_stream(200, HeaderList{});
        const auto first = co_await (flood(exchange) || exchange.wait_client_gone());
        out = first.index() == 0 || std::get<1>(first);
    };
    server_.emplace(io_, options, [&](ServerExchange& e) { return serve(e, gone); });
    ASSERT_TRUE(server_->start().ok());
    RawClient client(io_, server_->port());
    run_until_done(io_, client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n"));
    ASSERT_TRUE(run_until(io_, [&] { return gone.has_value(); }));
    EXPECT_TRUE(*gone);
}

TEST_F(HttpServerTest, ClientThatLeavesWakesTheHandler) {
    start();
    for (const bool pipelined : {false, true}) {
        const int before = seen_.gone;
        RawClient client(io_, server_->port());
        std::string bytes = "GET /gone HTTP/1.1\r\nHost: a\r\n\r\n";
        if (pipelined) bytes += "GET /x HTTP/1.1\r\nHost: a\r\n\r\n";
        run_until_done(io_, client.send(bytes));
        ASSERT_TRUE(run_until(io_, [&] { return seen_.waiting == 1; }));
        EXPECT_EQ(seen_.gone, before);
        client.close();
        ASSERT_TRUE(run_until(io_, [&] { return seen_.gone == before + 1; }));
    }
    EXPECT_TRUE(run_until(io_, [&] { return server_->connections() == 0; }));
}

TEST_F(HttpServerTest, BytesSentWhileTheHandlerWaitsAreNotLost) {
    start();
    RawClient client(io_, server_->port());
    run_until_done(io_, client.send("GET /gone HTTP/1.1\r\nHost: a\r\n\r\n"));
    ASSERT_TRUE(run_until(io_, [&] { return seen_.waiting == 1; }));
    run_until_done(io_, client.send("GET /x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"));
    // More turns of the loop than the wait needs to take the bytes in: it must not spin on them.
    io_.restart();
    EXPECT_LT(io_.poll(), 20u);
    release_.cancel();
    std::string answer;
    run_until_done(io_, talk_to(client, "", answer));
    EXPECT_NE(answer.find("released"), std::string::npos) << answer;
    EXPECT_TRUE(answer.ends_with("plain")) << answer;
}

TEST_F(HttpServerTest, WaitDoesNotSpinWhenItsBufferIsFull) {
    start();
    RawClient client(io_, server_->port());
    run_until_done(io_, client.send("GET /gone HTTP/1.1\r\nHost: a\r\n\r\n"));
    ASSERT_TRUE(run_until(io_, [&] { return seen_.waiting == 1; }));
    boost::system::error_code ec;
    const std::string flood(200'000, 'x');
    client.socket().write_some(asio::buffer(flood), ec);
    io_.restart();
    EXPECT_LT(io_.poll(), 50u);
    io_.restart();
    EXPECT_EQ(io_.poll(), 0u);
    EXPECT_EQ(seen_.waiting, 1);
    client.socket().set_option(asio::socket_base::linger(true, 0));
    client.close();  // Only a reset can be told apart now.
    EXPECT_TRUE(run_until(io_, [&] { return seen_.gone == 1; }));
}

}  // namespace
}  // namespace hearth
