// TLS under HttpServer and HttpClient: who is let in and who is not, and that bytes arrive whole.
#include "common/net/tls.h"

#include <gtest/gtest.h>
#include <sys/socket.h>

#include <fstream>
#include <random>

#include "common/net/http_client.h"
#include "common/net/tcp_stream.h"
#include "tests/common/net/server_site.h"
#include "tests/support/certificates.h"
#include "tests/support/run_task.h"

namespace hearth {
namespace {

constexpr std::size_t kBigBytes = 3 * 1024 * 1024 + 17;

std::string big_body() {
    std::string body(kBigBytes, '\0');
    std::minstd_rand random(7);
    for (char& c : body) c = static_cast<char>(random());
    return body;
}

Task<void> echo_all(ServerExchange& exchange) {
    Result<std::string> body = co_await exchange.read_body(2 * kBigBytes);
    if (!body) co_return;
    (void)co_await exchange.respond(200, HeaderList{}, *body);
}

// A server on a loopback port with a certificate for localhost, and clients for it.
class TlsTest : public HttpServerTest {
  protected:
    std::shared_ptr<const TlsContext> server_context(TlsServerOptions options) {
        auto made = TlsContext::server(options);
        EXPECT_TRUE(made.ok()) << made.error().message;
        return made.ok() ? *made : nullptr;
    }
    TlsServerOptions localhost(TlsClientAuth auth = TlsClientAuth::kNone) {
        const auto files = authority_.issue("server", "DNS:localhost,IP:127.0.0.1");
        TlsServerOptions options;
        options.cert_file = files.cert;
        options.key_file = files.key;
        options.client_ca_file = authority_.ca_file();
        options.client_auth = auth;
        return options;
    }
    void start_tls(const TlsServerOptions& tls, ServerLimits limits = {}) {
        HttpServer::Options options;
        options.limits = limits;
        options.tls = server_context(tls);
        Site& site = site_;
        server_.emplace(io_, options, [&site](ServerExchange& exchange) {
            return exchange.head().path == "/big" ? echo_all(exchange) : site.serve(exchange);
        });
        const Result<void> started = server_->start();
        ASSERT_TRUE(started.ok()) << started.error().message;
    }
    TlsClientOptions trusting() {
        TlsClientOptions options;
        options.ca_file = authority_.ca_file();
        return options;
    }
    HttpClient::Options client_options(const TlsClientOptions& tls) {
        auto made = TlsContext::client(tls);
        EXPECT_TRUE(made.ok()) << made.error().message;
        HttpClient::Options options;
        options.connect_timeout = milliseconds(5'000);
        if (made.ok()) options.tls = *made;
        return options;
    }
    std::string address(const std::string& host = "127.0.0.1") {
        return host + ":" + std::to_string(server_->port());
    }
    Result<HttpClient::Answer> get(HttpClient& client, const std::string& host = "127.0.0.1") {
        const HeaderList none;
        return run_task(
            io_, client.call(address(host), "GET", "/x", none, "", std::chrono::seconds(10)));
    }
    std::string refusal(const TlsClientOptions& tls, const std::string& host = "127.0.0.1") {
        HttpClient client(io_, client_options(tls));
        auto answer = get(client, host);
        if (answer.ok()) return "not refused";
        EXPECT_EQ(answer.error().code, ErrorCode::kUnavailable);
        return answer.error().message;
    }

    CertificateAuthority authority_;
};

bool contains(const std::string& text, std::string_view part) {
    return text.find(part) != std::string::npos;
}

TEST_F(TlsTest, AnswersAndKeepsTheConnection) {
    start_tls(localhost());
    HttpClient client(io_, client_options(trusting()));
    for (int i = 0; i < 3; ++i) {
        auto answer = get(client);
        ASSERT_TRUE(answer.ok()) << answer.error().message;
        EXPECT_EQ(answer->body, "plain");
        EXPECT_EQ(server_->connections(), 1u);
    }
    auto by_name = get(client, "localhost");
    EXPECT_TRUE(by_name.ok()) << by_name.error().message;
}

TEST_F(TlsTest, BigBodiesArriveWholeBothWays) {
    start_tls(localhost());
    HttpClient client(io_, client_options(trusting()));
    const std::string body = big_body().substr(0, 1'000'000);
    auto answer = run_task(
        io_, client.call(address(), "POST", "/big", HeaderList{}, body, std::chrono::seconds(10)));
    ASSERT_TRUE(answer.ok()) << answer.error().message;
    EXPECT_TRUE(answer->body == body);
}

// Reads an answer of any size, slower than it comes.
Task<Result<std::string>> post_slowly(HttpClient& client, std::string address,
                                      const std::string& body) {
    auto exchange = co_await client.open(address);
    if (!exchange) co_return exchange.error();
    ClientExchange::RequestOptions options;
    options.method = "POST";
    options.target = "/big";
    options.body = BodyKind::kChunked;
    const std::vector<HeaderField> none;
    auto sent = co_await (*exchange)->send_head(options, none, "");
    for (std::size_t at = 0; sent && at < body.size(); at += 70'000)
        sent = co_await (*exchange)->write_body(std::string_view(body).substr(at, 70'000));
    if (sent) sent = co_await (*exchange)->finish_body();
    if (!sent) co_return sent.error();
    auto head = co_await (*exchange)->read_head(std::chrono::seconds(10));
    if (!head) co_return head.error();
    std::string out;
    while (true) {
        auto piece = co_await (*exchange)->read_body_some(std::chrono::seconds(10));
        if (!piece) co_return piece.error();
        if (piece->empty()) co_return out;
        out.append(*piece);
    }
}

TEST_F(TlsTest, ChunkedUploadsAndFullSocketsLoseNothing) {
    start_tls(localhost());
    HttpClient client(io_, client_options(trusting()));
    const std::string body = big_body();
    auto echoed = run_task(io_, post_slowly(client, address(), body));
    ASSERT_TRUE(echoed.ok()) << echoed.error().message;
    EXPECT_TRUE(*echoed == body);
}

TEST_F(TlsTest, StreamsEventsAndSeesTheClientLeave) {
    start_tls(localhost());
    HttpClient client(io_, client_options(trusting()));
    auto answer = run_task(
        io_, client.call(address(), "GET", "/stream", HeaderList{}, "", std::chrono::seconds(10)));
    ASSERT_TRUE(answer.ok()) << answer.error().message;
    EXPECT_EQ(answer->body, "data: 0\n\ndata: 1\n\ndata: 2\n\n");
    {
        auto exchange = run_task(io_, client.open(address(), true));
        ASSERT_TRUE(exchange.ok());
        ClientExchange::RequestOptions options;
        options.target = "/gone";
        const std::vector<HeaderField> none;
        auto sent = run_task(io_, (*exchange)->send_head(options, none, ""));
        ASSERT_TRUE(sent.ok());
        ASSERT_TRUE(run_until(io_, [&] { return seen_.waiting == 1; }));
    }
    EXPECT_TRUE(run_until(io_, [&] { return seen_.gone == 1; }));
}

TEST_F(TlsTest, ServersOfAnotherAuthorityOrNameOrTimeAreRefused) {
    start_tls(localhost());
    const CertificateAuthority other("another CA");
    TlsClientOptions tls;
    tls.ca_file = other.ca_file();
    EXPECT_TRUE(contains(refusal(tls), "the peer's certificate is refused: unable to get local"));
    tls = trusting();
    tls.server_name = "elsewhere.test";
    EXPECT_TRUE(contains(refusal(tls), "hostname mismatch"));
    tls.server_name = "127.0.0.2";
    EXPECT_TRUE(contains(refusal(tls), "IP address mismatch"));
    const auto late = authority_.issue("late", "IP:127.0.0.1", -60);
    TlsServerOptions expired;
    expired.cert_file = late.cert;
    expired.key_file = late.key;
    server_->set_tls(server_context(expired));
    EXPECT_TRUE(contains(refusal(trusting()), "certificate has expired"));
    server_->set_tls(server_context(localhost()));
    EXPECT_EQ(refusal(trusting()), "not refused");
}

TEST_F(TlsTest, ClientsMustShowACertificateWhereItIsRequired) {
    start_tls(localhost(TlsClientAuth::kRequire));
    EXPECT_TRUE(contains(refusal(trusting()), "certificate required"));
    CertificateAuthority other("another CA");
    const auto foreign = other.issue("client", "DNS:client.test");
    TlsClientOptions tls = trusting();
    tls.cert_file = foreign.cert;
    tls.key_file = foreign.key;
    EXPECT_TRUE(contains(refusal(tls), "alert"));
    const auto late = authority_.issue("late-client", "DNS:client.test", -60);
    tls.cert_file = late.cert;
    tls.key_file = late.key;
    EXPECT_TRUE(contains(refusal(tls), "certificate expired"));
    EXPECT_EQ(seen_.requests, 0);
    const auto good = authority_.issue("client", "DNS:client.test");
    tls.cert_file = good.cert;
    tls.key_file = good.key;
    EXPECT_EQ(refusal(tls), "not refused");
}

TEST_F(TlsTest, RequestedCertificatesMayBeAbsentButNotWrong) {
    start_tls(localhost(TlsClientAuth::kRequest));
    EXPECT_EQ(refusal(trusting()), "not refused");
    CertificateAuthority other("another CA");
    const auto foreign = other.issue("client", "DNS:client.test");
    TlsClientOptions tls = trusting();
    tls.cert_file = foreign.cert;
    tls.key_file = foreign.key;
    EXPECT_TRUE(contains(refusal(tls), "alert"));
}

TEST_F(TlsTest, AReloadIsForNewConnectionsAndABadFileSaysWhichAndWhy) {
    start_tls(localhost());
    HttpClient before(io_, client_options(trusting()));
    ASSERT_TRUE(get(before).ok());
    CertificateAuthority next("the next CA");
    const auto files = next.issue("server", "IP:127.0.0.1");
    TlsServerOptions options;
    options.cert_file = files.cert;
    options.key_file = files.key;
    server_->set_tls(server_context(options));
    EXPECT_TRUE(get(before).ok());  // Its connection stays as it is.
    EXPECT_TRUE(contains(refusal(trusting()), "refused"));
    TlsClientOptions tls;
    tls.ca_file = next.ca_file();
    EXPECT_EQ(refusal(tls), "not refused");

    options.key_file = localhost().key_file;
    const auto wrong_key = TlsContext::server(options);
    ASSERT_FALSE(wrong_key.ok());
    EXPECT_TRUE(contains(wrong_key.error().message, options.key_file)) << wrong_key.error().message;
    EXPECT_TRUE(contains(wrong_key.error().message, "key values mismatch"));
    options.cert_file = next.path("absent.pem");
    const auto absent = TlsContext::server(options);
    ASSERT_FALSE(absent.ok());
    EXPECT_TRUE(contains(absent.error().message, "absent.pem': No such file or directory"))
        << absent.error().message;
    std::ofstream(next.path("text.pem")) << "no certificate\n";
    options.cert_file = next.path("text.pem");
    EXPECT_TRUE(contains(TlsContext::server(options).error().message, "no start line"));
}

TEST_F(TlsTest, AContextSaysWhenItsCertificateEnds) {
    EXPECT_EQ(server_context(localhost())->expires().size(), 20u);
    auto client = TlsContext::client(trusting());
    ASSERT_TRUE(client.ok());
    EXPECT_EQ((*client)->expires(), "");
}

TEST_F(TlsTest, APlainRequestGetsA400AndOtherBytesAClose) {
    start_tls(localhost());
    const std::string answer = talk("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    EXPECT_TRUE(answer.starts_with("HTTP/1.1 400 ")) << answer;
    EXPECT_TRUE(contains(answer, "https://")) << answer;
    EXPECT_EQ(talk("EHLO example\r\n").find("HTTP"), std::string::npos);
    EXPECT_TRUE(run_until(io_, [&] { return server_->connections() == 0; }));
    EXPECT_EQ(seen_.requests, 0);
}

TEST_F(TlsTest, AHandshakeHasADeadlineAndCountsAsAConnection) {
    ServerLimits limits;
    limits.head_timeout = milliseconds(50);
    start_tls(localhost(), limits);
    RawClient silent(io_, server_->port());
    RawClient dripping(io_, server_->port());
    run_until_done(io_, dripping.send("\x16\x03\x01\x02"));
    ASSERT_TRUE(run_until(io_, [&] { return server_->connections() == 2; }));
    EXPECT_TRUE(run_until(io_, [&] { return server_->connections() == 0; }));
    std::string rest;
    run_until_done(io_, talk_to(silent, "", rest));
    EXPECT_EQ(rest, "");
}

TEST_F(TlsTest, RandomBytesInAHandshakeHarmNobody) {
    const unsigned seed = std::random_device()();
    SCOPED_TRACE("seed " + std::to_string(seed));
    std::minstd_rand random(seed);
    ServerLimits limits;
    limits.head_timeout = milliseconds(500);
    start_tls(localhost(), limits);
    HttpClient client(io_, client_options(trusting()));
    for (int i = 0; i < 200; ++i) {
        std::string bytes(random() % 600, '\0');
        for (char& c : bytes) c = static_cast<char>(random());
        // Half of them begin as a record of a handshake does, with a length that fits.
        if (i % 2 == 0 && bytes.size() > 9) {
            const std::size_t size = bytes.size() - 5;
            bytes.replace(0, 6,
                          {0x16, 3, 1, static_cast<char>(size >> 8), static_cast<char>(size & 255),
                           static_cast<char>(i % 4)});
        }
        RawClient raw(io_, server_->port());
        run_until_done(io_, raw.send(bytes));
        raw.socket().shutdown(Tcp::socket::shutdown_send);
        std::string rest;
        run_until_done(io_, talk_to(raw, "", rest));
        EXPECT_FALSE(contains(rest, "HTTP/1.1 200"));
    }
    EXPECT_TRUE(run_until(io_, [&] { return server_->connections() == 0; }));
    EXPECT_TRUE(get(client).ok());
}

// Answers one request with a body that only the close ends, and then closes as told.
Task<void> answer_until_close(Tcp::acceptor& acceptor, std::shared_ptr<Deadlines> deadlines,
                              const TlsContext& context, bool proper) {
    Tcp::socket socket = co_await acceptor.async_accept(asio::use_awaitable);
    TcpStream stream(std::move(socket), deadlines);
    stream.prepare();
    auto session = std::make_unique<TlsSession>(context, stream.native_handle());
    Result<void> done = co_await stream.start_tls(std::move(session), std::chrono::seconds(5));
    if (!done) co_return;
    (void)co_await stream.fill(std::chrono::seconds(5));
    stream.consume(stream.unread().size());
    (void)co_await stream.write("HTTP/1.1 200 OK\r\n\r\npart", std::chrono::seconds(5));
    if (proper)
        stream.close();
    else
        ::shutdown(stream.native_handle(), SHUT_RDWR);  // What an attacker can do.
}

TEST_F(TlsTest, AnEndWithoutCloseNotifyIsNoEnd) {
    const auto context = server_context(localhost());
    for (const bool proper : {true, false}) {
        Tcp::acceptor acceptor(io_, Tcp::endpoint(asio::ip::address_v4::loopback(), 0));
        const auto deadlines = std::make_shared<Deadlines>(io_);
        HttpClient client(io_, client_options(trusting()));
        asio::co_spawn(io_, answer_until_close(acceptor, deadlines, *context, proper),
                       [](std::exception_ptr) {});
        const std::string at = "127.0.0.1:" + std::to_string(acceptor.local_endpoint().port());
        auto answer =
            run_task(io_, client.call(at, "GET", "/", HeaderList{}, "", std::chrono::seconds(10)));
        EXPECT_EQ(answer.ok(), proper);
        const std::string got = answer.ok() ? answer->body : answer.error().message;
        EXPECT_TRUE(contains(got, proper ? "part" : "unexpected eof")) << got;
    }
}

TEST_F(TlsTest, DrainFinishesAnswersAndEndsThemProperly) {
    start_tls(localhost());
    HttpClient client(io_, client_options(trusting()));
    const std::string at = address();
    const auto running = start_task(
        io_, client.call(at, "GET", "/hold", HeaderList{}, "", std::chrono::seconds(10)));
    ASSERT_TRUE(run_until(io_, [&] { return seen_.waiting == 1; }));
    bool drained = false;
    asio::co_spawn(io_, server_->drain(std::chrono::seconds(30)),
                   [&](std::exception_ptr) { drained = true; });
    io_.poll();
    release_.cancel();
    auto answer = finish_task(io_, running);
    ASSERT_TRUE(answer.ok()) << answer.error().message;
    EXPECT_EQ(answer->body, "plain");
    EXPECT_TRUE(run_until(io_, [&] { return drained; }));
}

}  // namespace
}  // namespace hearth
