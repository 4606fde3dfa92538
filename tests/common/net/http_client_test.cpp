// HttpClient against HttpServer and against crooked upstreams: pooling, framing, deadlines, aborts.
#include "common/net/http_client.h"

#include <gtest/gtest.h>

#include "tests/common/net/loopback.h"

namespace hearth {
namespace {

using std::chrono::milliseconds;
constexpr milliseconds kLong{10'000};

// Echoes method, target, fields it was asked about, and body; /stream answers in chunks.
Task<void> echo(ServerExchange& exchange) {
    Result<std::string> body = co_await exchange.read_body(1 << 24);
    if (!body) co_return;
    const RequestHead& head = exchange.head();
    HeaderList headers;
    headers.emplace_back("x-host", head.find("host"));
    headers.emplace_back("x-seen", head.find("x-tag"));
    headers.emplace_back("x-framing", std::string(head.find("transfer-encoding")) + "/" +
                                          std::string(head.find("content-length")));
    if (head.path == "/stream") {
        (void)co_await exchange.start_stream(200, std::move(headers));
        for (std::size_t at = 0; at < body->size(); at += 1000)
            (void)co_await exchange.write(std::string_view(*body).substr(at, 1000));
        (void)co_await exchange.finish_stream();
        co_return;
    }
    if (head.path == "/broken") {
        (void)co_await exchange.start_stream(200, std::move(headers));
        (void)co_await exchange.write("partial");
        exchange.abort();
        co_return;
    }
    const int status = head.path == "/none" ? 204 : 200;
    const std::string text =
        std::string(head.method) + " " + std::string(head.target) + " " + *body;
    (void)co_await exchange.respond(status, std::move(headers), text);
}

// Accepts connections one after another and answers each with fixed bytes after its first read.
class CrookedUpstream {
  public:
    CrookedUpstream(asio::io_context& io, std::string answer, bool close)
        : site_(std::make_shared<Site>(io, std::move(answer), close)) {
        asio::co_spawn(io, serve(site_), [site = site_](std::exception_ptr) {});
    }
    ~CrookedUpstream() {
        site_->acceptor.close();
        for (Tcp::socket& peer : site_->peers) peer.close();
    }
    std::string host_port() const {
        return "127.0.0.1:" + std::to_string(site_->acceptor.local_endpoint().port());
    }
    int accepted() const { return static_cast<int>(site_->peers.size()); }
    Tcp::socket& peer(int i) { return site_->peers[static_cast<std::size_t>(i)]; }

  private:
    struct Site {
        Site(asio::io_context& io, std::string text, bool close_after)
            : acceptor(io, Tcp::endpoint(asio::ip::address_v4::loopback(), 0)),
              answer(std::move(text)),
              close(close_after) {}
        Tcp::acceptor acceptor;
        std::vector<Tcp::socket> peers;
        std::array<char, 4096> request;
        std::string answer;
        bool close;
    };

    static Task<void> serve(std::shared_ptr<Site> site) {
        boost::system::error_code ec;
        while (site->acceptor.is_open()) {
            Tcp::socket socket =
                co_await site->acceptor.async_accept(asio::redirect_error(asio::use_awaitable, ec));
            if (ec) co_return;
            site->peers.push_back(std::move(socket));
            co_await site->peers.back().async_read_some(
                asio::buffer(site->request), asio::redirect_error(asio::use_awaitable, ec));
            site->peers.back().write_some(asio::buffer(site->answer), ec);
            if (site->close) site->peers.back().close(ec);
        }
    }

    std::shared_ptr<Site> site_;
};

class HttpClientTest : public testing::Test {
  protected:
    HttpClientTest() : server_(io_, HttpServer::Options{}, echo) {
        const Result<void> started = server_.start();
        EXPECT_TRUE(started.ok());
        host_port_ = server_.endpoint();
    }
    HttpClient::Answer call(std::string method, std::string target, std::string body = {}) {
        HttpClient::Answer out;
        run_until_done(
            io_, call_into(host_port_, std::move(method), std::move(target), std::move(body), out));
        return out;
    }
    Task<void> call_into(std::string host_port, std::string method, std::string target,
                         std::string body, HttpClient::Answer& out) {
        HeaderList headers;
        headers.emplace_back("x-tag", "t");
        auto answer = co_await client_->call(host_port, method, target, headers, body, kLong);
        EXPECT_TRUE(answer.ok()) << answer.error().message;
        if (answer) out = std::move(*answer);
    }
    Error call_error(const std::string& host_port, milliseconds timeout = kLong,
                     std::string method = "GET") {
        Error out;
        run_until_done(io_, error_into(host_port, timeout, std::move(method), out));
        return out;
    }
    Task<void> error_into(std::string host_port, milliseconds timeout, std::string method,
                          Error& out) {
        HeaderList headers;
        auto answer = co_await client_->call(host_port, method, "/", headers, "", timeout);
        EXPECT_FALSE(answer.ok());
        if (!answer) out = answer.error();
    }
    void use(HttpClient::Options options) { client_.emplace(io_, options); }

    asio::io_context io_;
    HttpServer server_;
    std::string host_port_;
    std::optional<HttpClient> client_{io_};
};

std::string header(const HttpClient::Answer& answer, std::string_view name) {
    for (const auto& [key, value] : answer.headers)
        if (equals_ignore_case(key, name)) return value;
    return "(absent)";
}

TEST_F(HttpClientTest, CallsOverOneKeptConnection) {
    HttpClient::Answer answer = call("GET", "/a?b=c");
    EXPECT_EQ(answer.status, 200);
    EXPECT_EQ(answer.body, "GET /a?b=c ");
    EXPECT_EQ(header(answer, "x-host"), host_port_);
    EXPECT_EQ(header(answer, "x-seen"), "t");
    EXPECT_EQ(header(answer, "x-framing"), "/");
    answer = call("POST", "/p", "body");
    EXPECT_EQ(answer.body, "POST /p body");
    EXPECT_EQ(header(answer, "x-framing"), "/4");
    EXPECT_EQ(header(call("POST", "/empty"), "x-framing"), "/0");
    EXPECT_EQ(call("GET", "/none").status, 204);
    EXPECT_EQ(call("HEAD", "/h").body, "");
    EXPECT_EQ(call("POST", "/stream", std::string(5000, 's')).body, std::string(5000, 's'));
    EXPECT_EQ(server_.connections(), 1u);
}

TEST_F(HttpClientTest, IdleClientLeavesTheLoopWithoutWork) {
    CrookedUpstream upstream(io_, "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok", false);
    HttpClient::Answer answer;
    run_until_done(io_, call_into(upstream.host_port(), "GET", "/", "", answer));
    EXPECT_EQ(answer.body, "ok");
    io_.restart();
    io_.poll();
    io_.restart();
    EXPECT_EQ(io_.poll(), 0u);
    server_.stop_accepting();
}

Task<void> upload(HttpClient& client, std::string host_port, BodyKind kind, std::string& out) {
    auto opened = co_await client.open(host_port);
    CHECK(opened.ok());
    ClientExchange& exchange = **opened;
    ClientExchange::RequestOptions options;
    options.method = "POST";
    options.target = "/stream";
    options.host = "other.example";
    options.body = kind;
    options.content_length = 300'003;
    std::vector<HeaderField> fields;
    fields.push_back({"Content-Length", "7"});
    fields.push_back({"Connection", "close"});
    fields.push_back({"X-Tag", "up"});
    EXPECT_FALSE(exchange.sent_any());
    EXPECT_TRUE((co_await exchange.send_head(options, fields, "abc")).ok());
    EXPECT_TRUE(exchange.sent_any());
    const std::string block(100'000, 'z');
    for (int i = 0; i < 3; ++i) EXPECT_TRUE((co_await exchange.write_body(block)).ok());
    EXPECT_TRUE((co_await exchange.finish_body()).ok());
    auto head = co_await exchange.read_head(kLong);
    CHECK(head.ok());
    EXPECT_EQ((*head)->find("x-host"), "other.example");
    EXPECT_EQ((*head)->find("x-seen"), "up");
    EXPECT_EQ((*head)->find("x-framing"), kind == BodyKind::kChunked ? "chunked/" : "/300003");
    while (true) {
        auto piece = co_await exchange.read_body_some(kLong);
        CHECK(piece.ok());
        if (piece->empty()) break;
        out.append(*piece);
    }
    EXPECT_EQ((*head)->find("x-seen"), "up");  // Views outlive the reading of the body.
}

TEST_F(HttpClientTest, StreamsBodiesBothWays) {
    for (const BodyKind kind : {BodyKind::kLength, BodyKind::kChunked}) {
        std::string body;
        run_until_done(io_, upload(*client_, host_port_, kind, body));
        EXPECT_EQ(body, "abc" + std::string(300'000, 'z'));
    }
    EXPECT_EQ(server_.connections(), 1u);
}

TEST_F(HttpClientTest, BodyMustMatchItsAnnouncement) {
    const auto over = [](HttpClient& client, std::string host_port) -> Task<void> {
        auto opened = co_await client.open(host_port);
        CHECK(opened.ok());
        ClientExchange::RequestOptions options;
        options.method = "POST";
        options.body = BodyKind::kLength;
        options.content_length = 3;
        const std::vector<HeaderField> none;
        EXPECT_TRUE((co_await (*opened)->send_head(options, none, "ab")).ok());
        auto early = co_await (*opened)->finish_body();
        EXPECT_EQ(early.error().code, ErrorCode::kInvalidArgument);
        auto more = co_await (*opened)->write_body("cd");
        EXPECT_EQ(more.error().code, ErrorCode::kInvalidArgument);
    };
    run_until_done(io_, over(*client_, host_port_));
    EXPECT_TRUE(run_until(io_, [&] { return server_.connections() == 0; }));
}

TEST_F(HttpClientTest, HeadsCannotBeInjected) {
    const auto attack = [](HttpClient& client, std::string host_port) -> Task<void> {
        const std::vector<HeaderField> none;
        std::vector<HeaderField> evil;
        evil.push_back({"x", "a\r\nb: c"});
        for (int i = 0; i < 3; ++i) {
            auto opened = co_await client.open(host_port);
            CHECK(opened.ok());
            ClientExchange::RequestOptions options;
            if (i == 1) options.target = "/ HTTP/1.1\r\nX: y";
            if (i == 2) options.host = "a\r\nb";
            const std::vector<HeaderField>& fields = i == 0 ? evil : none;
            auto sent = co_await (*opened)->send_head(options, fields);
            EXPECT_EQ(sent.error().code, ErrorCode::kInvalidArgument);
            EXPECT_FALSE((*opened)->sent_any());
        }
    };
    run_until_done(io_, attack(*client_, host_port_));
}

TEST_F(HttpClientTest, DestroyingAnExchangeClosesItsConnection) {
    const auto leave = [](HttpClient& client, std::string host_port) -> Task<void> {
        auto opened = co_await client.open(host_port);
        CHECK(opened.ok());
        ClientExchange::RequestOptions options;
        options.method = "POST";
        options.body = BodyKind::kChunked;
        const std::vector<HeaderField> none;
        EXPECT_TRUE((co_await (*opened)->send_head(options, none, "x")).ok());
    };
    run_until_done(io_, leave(*client_, host_port_));
    EXPECT_TRUE(run_until(io_, [&] { return server_.connections() == 0; }));
}

TEST_F(HttpClientTest, BrokenStreamIsAnError) {
    std::string got;
    std::optional<Error> error;
    const auto read = [](HttpClient& client, std::string host_port, std::string& out,
                         std::optional<Error>& failed) -> Task<void> {
        auto opened = co_await client.open(host_port);
        CHECK(opened.ok());
        ClientExchange::RequestOptions options;
        options.target = "/broken";
        const std::vector<HeaderField> none;
        (void)co_await (*opened)->send_head(options, none);
        auto head = co_await (*opened)->read_head(kLong);
        CHECK(head.ok());
        while (!failed) {
            auto piece = co_await (*opened)->read_body_some(kLong);
            if (!piece)
                failed = piece.error();
            else
                out.append(*piece);
        }
    };
    run_until_done(io_, read(*client_, host_port_, got, error));
    EXPECT_EQ(got, "partial");
    EXPECT_EQ(error->code, ErrorCode::kUnavailable);
}

TEST_F(HttpClientTest, AnswersThatCannotBeTrustedAreErrors) {
    const struct {
        const char* answer;
        bool close;
        ErrorCode code;
    } cases[] = {
        {"", true, ErrorCode::kUnavailable},
        {"HTTP/1.1 200", true, ErrorCode::kCorrupt},
        {"SSH-2.0-x\r\n", false, ErrorCode::kCorrupt},
        {"HTTP/1.1 101 Switching\r\n\r\n", false, ErrorCode::kCorrupt},
        {"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nabc", true, ErrorCode::kUnavailable},
        {"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n", true,
         ErrorCode::kUnavailable},
        {"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabcd\r\n", false,
         ErrorCode::kCorrupt},
    };
    for (const auto& c : cases) {
        CrookedUpstream upstream(io_, c.answer, c.close);
        const Error error = call_error(upstream.host_port());
        EXPECT_EQ(error.code, c.code) << c.answer << error.message;
        EXPECT_NE(error.message.find(upstream.host_port()), std::string::npos) << error.message;
        EXPECT_EQ(upstream.accepted(), 1);
    }
}

TEST_F(HttpClientTest, InterimAnswersAreSkippedAndCloseEndsABody) {
    CrookedUpstream upstream(io_,
                             "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\nX: "
                             "y\r\n\r\nHTTP/1.0 200 OK\r\n\r\nrest",
                             true);
    HttpClient::Answer answer;
    run_until_done(io_, call_into(upstream.host_port(), "GET", "/", "", answer));
    EXPECT_EQ(answer.status, 200);
    EXPECT_EQ(answer.body, "rest");
}

TEST_F(HttpClientTest, ConnectionsThatAreNotCleanAreNotKept) {
    for (const char* text : {"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nokEXTRA",
                             "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok",
                             "HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nok"}) {
        CrookedUpstream upstream(io_, text, false);
        for (int i = 1; i <= 2; ++i) {
            HttpClient::Answer answer;
            run_until_done(io_, call_into(upstream.host_port(), "GET", "/", "", answer));
            EXPECT_EQ(answer.body, "ok");
            EXPECT_EQ(upstream.accepted(), i) << text;
        }
    }
}

TEST_F(HttpClientTest, KeptConnectionThatThePeerClosedIsNotUsed) {
    CrookedUpstream upstream(io_, "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok", false);
    HttpClient::Answer answer;
    run_until_done(io_, call_into(upstream.host_port(), "POST", "/", "x", answer));
    upstream.peer(0).close();
    run_until_done(io_, call_into(upstream.host_port(), "POST", "/", "x", answer));
    EXPECT_EQ(upstream.accepted(), 2);
    // Bytes nobody asked for poison a kept connection too.
    boost::system::error_code ec;
    upstream.peer(1).write_some(asio::buffer("HTTP/1.1 200 OK\r\n\r\n", 19), ec);
    run_until_done(io_, call_into(upstream.host_port(), "POST", "/", "x", answer));
    EXPECT_EQ(answer.body, "ok");
    EXPECT_EQ(upstream.accepted(), 3);
}

TEST_F(HttpClientTest, StaleConnectionIsToldApartAndGetIsTriedAgain) {
    // Answers the first request of a connection, then closes it on the second without a word.
    CrookedUpstream upstream(io_, "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok", false);
    HttpClient::Answer answer;
    run_until_done(io_, call_into(upstream.host_port(), "GET", "/", "", answer));
    const auto stale = [](HttpClient& client, CrookedUpstream& peer) -> Task<void> {
        auto opened = co_await client.open(peer.host_port());
        CHECK(opened.ok());
        EXPECT_TRUE((*opened)->reused());
        peer.peer(0).close();
        const ClientExchange::RequestOptions options;
        const std::vector<HeaderField> none;
        (void)co_await (*opened)->send_head(options, none);
        auto head = co_await (*opened)->read_head(kLong);
        EXPECT_EQ(head.error().code, ErrorCode::kUnavailable);
        auto fresh = co_await client.open(peer.host_port(), true);
        CHECK(fresh.ok());
        EXPECT_FALSE((*fresh)->reused());
    };
    run_until_done(io_, stale(*client_, upstream));
}

TEST_F(HttpClientTest, DeadlinesHold) {
    CrookedUpstream silent(io_, "", false);
    EXPECT_EQ(call_error(silent.host_port(), milliseconds(30)).code, ErrorCode::kTimeout);
    CrookedUpstream half(io_, "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nab", false);
    EXPECT_EQ(call_error(half.host_port(), milliseconds(30)).code, ErrorCode::kTimeout);
}

TEST_F(HttpClientTest, ConnectFailuresNameTheAddress) {
    Tcp::acceptor closed(io_, Tcp::endpoint(asio::ip::address_v4::loopback(), 0));
    const std::string refused = "127.0.0.1:" + std::to_string(closed.local_endpoint().port());
    closed.close();
    Error error = call_error(refused);
    EXPECT_EQ(error.code, ErrorCode::kUnavailable);
    EXPECT_NE(error.message.find(refused), std::string::npos) << error.message;
    EXPECT_EQ(call_error("no-port").code, ErrorCode::kInvalidArgument);
}

// A listener whose backlog is full: it answers no more connection requests.
struct FullListener {
    explicit FullListener(asio::io_context& io) : acceptor(io) {
        acceptor.open(Tcp::v4());
        acceptor.bind(Tcp::endpoint(asio::ip::address_v4::loopback(), 0));
        acceptor.listen(0);
        for (int i = 0; i < 4; ++i) {
            fillers.emplace_back(io);
            fillers.back().async_connect(acceptor.local_endpoint(),
                                         [this](boost::system::error_code ec) {
                                             if (!ec) ++waiting;
                                         });
        }
        io.restart();
        io.poll();
    }
    std::string target() const {
        return "127.0.0.1:" + std::to_string(acceptor.local_endpoint().port());
    }

    Tcp::acceptor acceptor;
    std::vector<Tcp::socket> fillers;
    int waiting = 0;  // To be accepted; the other fillers' SYNs were dropped.
};

TEST_F(HttpClientTest, ConnectTimesOut) {
    const FullListener full(io_);
    HttpClient::Options options;
    options.connect_timeout = milliseconds(50);
    use(options);
    const Error error = call_error(full.target());
    EXPECT_EQ(error.code, ErrorCode::kTimeout) << error.message;
    EXPECT_NE(error.message.find(full.target()), std::string::npos);
}

TEST_F(HttpClientTest, BothAttemptsOfAHedgedConnectTimeOut) {
    const FullListener full(io_);
    HttpClient::Options options;
    options.connect_timeout = milliseconds(50);
    options.connect_hedge = milliseconds(10);
    use(options);
    const Error error = call_error(full.target());
    EXPECT_EQ(error.code, ErrorCode::kTimeout) << error.message;
    EXPECT_NE(error.message.find(full.target()), std::string::npos);
}

// The first SYN is dropped, and would be sent again after a second; the timeout is shorter.
TEST_F(HttpClientTest, AHedgedConnectSurvivesALostSyn) {
    FullListener full(io_);
    ASSERT_GT(full.waiting, 0);
    HttpClient::Options options;
    options.connect_timeout = milliseconds(900);
    options.connect_hedge = milliseconds(20);
    use(options);
    std::optional<bool> opened;
    const auto open = [&opened](HttpClient& client, std::string target) -> Task<void> {
        auto exchange = co_await client.open(target);
        opened = exchange.ok();
    };
    io_.restart();
    asio::co_spawn(io_, open(*client_, full.target()), [](std::exception_ptr) {});
    io_.poll();
    ASSERT_FALSE(opened.has_value());
    for (; full.waiting > 0; --full.waiting) full.acceptor.accept();
    while (!opened) ASSERT_GT(io_.run_one(), 0u);
    EXPECT_TRUE(*opened);
}

TEST_F(HttpClientTest, AHedgedConnectTakesTheFirstAttemptAndARefusalAtOnce) {
    HttpClient::Options options;
    options.connect_timeout = milliseconds(60'000);
    options.connect_hedge = milliseconds(59'000);  // A wait for it would stop the test.
    use(options);
    EXPECT_EQ(call("GET", "/").status, 200);
    Tcp::acceptor closed(io_, Tcp::endpoint(asio::ip::address_v4::loopback(), 0));
    const std::string refused = "127.0.0.1:" + std::to_string(closed.local_endpoint().port());
    closed.close();
    EXPECT_EQ(call_error(refused).code, ErrorCode::kUnavailable);
}

TEST_F(HttpClientTest, NamesAreResolved) {
    host_port_ = "localhost:" + std::to_string(server_.port());
    EXPECT_EQ(call("GET", "/").status, 200);
    EXPECT_EQ(call("GET", "/").status, 200);
}

TEST_F(HttpClientTest, IdleConnectionsAreBounded) {
    HttpClient::Options options;
    options.idle_per_upstream_max = 1;
    use(options);
    const auto two = [](HttpClient& client, std::string host_port) -> Task<void> {
        auto one = co_await client.open(host_port);
        auto other = co_await client.open(host_port);
        CHECK(one.ok() && other.ok());
        const ClientExchange::RequestOptions request;
        const std::vector<HeaderField> none;
        for (ClientExchange* exchange :
             std::initializer_list<ClientExchange*>{one->get(), other->get()}) {
            (void)co_await exchange->send_head(request, none);
            auto head = co_await exchange->read_head(kLong);
            CHECK(head.ok());
            auto body = co_await exchange->read_body_some(kLong);
            EXPECT_TRUE(body.ok());
        }
    };
    run_until_done(io_, two(*client_, host_port_));
    EXPECT_TRUE(run_until(io_, [&] { return server_.connections() == 1; }));
    client_.reset();
    EXPECT_TRUE(run_until(io_, [&] { return server_.connections() == 0; }));
}

TEST_F(HttpClientTest, ClientMayDieBeforeItsExchange) {
    const auto outlive = [](std::optional<HttpClient>& client,
                            std::string host_port) -> Task<void> {
        auto opened = co_await client->open(host_port);
        CHECK(opened.ok());
        client.reset();
        const ClientExchange::RequestOptions options;
        const std::vector<HeaderField> none;
        EXPECT_TRUE((co_await (*opened)->send_head(options, none)).ok());
        auto head = co_await (*opened)->read_head(kLong);
        EXPECT_TRUE(head.ok());
    };
    run_until_done(io_, outlive(client_, host_port_));
    EXPECT_TRUE(run_until(io_, [&] { return server_.connections() == 0; }));
}

}  // namespace
}  // namespace hearth
