// Test support: a server whose handler has one path per behaviour under test, and its fixture.
#pragma once

#include <gtest/gtest.h>

#include <boost/asio/experimental/awaitable_operators.hpp>
#include <optional>
#include <stdexcept>
#include <string>

#include "common/net/http_server.h"
#include "tests/common/net/loopback.h"

namespace hearth {

using std::chrono::milliseconds;
using namespace asio::experimental::awaitable_operators;

inline int count_of(std::string_view text, std::string_view part) {
    int n = 0;
    for (std::size_t at = text.find(part); at != std::string_view::npos;
         at = text.find(part, at + part.size()))
        ++n;
    return n;
}

// What the handler below saw, for the tests to look at.
struct Seen {
    int requests = 0;
    int gone = 0;
    int waiting = 0;
    std::optional<Error> body_error;
    std::string remote;
};

inline Task<void> hold(asio::steady_timer& release) {
    boost::system::error_code ec;
    co_await release.async_wait(asio::redirect_error(asio::use_awaitable, ec));
}

// One path per behaviour under test.
struct Site {
    Seen& seen;
    asio::steady_timer& release;  // Held handlers go on when it is cancelled.

    Task<void> echo(ServerExchange& exchange) {
        Result<std::string> body = co_await exchange.read_body(100);
        if (!body) {
            seen.body_error = body.error();
            const int status = body.error().code == ErrorCode::kTooLarge  ? 413
                               : body.error().code == ErrorCode::kTimeout ? 408
                                                                          : 400;
            (void)co_await exchange.respond(status, HeaderList{}, "bad body");
            co_return;
        }
        const std::string text = std::string(exchange.head().method) + " [" + *body + "]";
        HeaderList headers;
        headers.emplace_back("content-type", "text/plain");
        (void)co_await exchange.respond(200, std::move(headers), text);
    }

    Task<void> stream(ServerExchange& exchange, int events, bool broken) {
        HeaderList headers;
        headers.emplace_back("content-type", "text/event-stream");
        (void)co_await exchange.start_stream(200, std::move(headers));
        for (int i = 0; i < events; ++i) {
            const std::string event = "data: " + std::to_string(i) + "\n\n";
            (void)co_await exchange.write(event);
        }
        if (broken) {
            exchange.abort();
            co_return;
        }
        (void)co_await exchange.finish_stream();
    }

    Task<void> wait_gone(ServerExchange& exchange) {
        ++seen.waiting;
        const auto first = co_await (hold(release) || exchange.wait_client_gone());
        --seen.waiting;
        if (first.index() == 1 && std::get<1>(first)) {
            ++seen.gone;
            exchange.abort();
            co_return;
        }
        (void)co_await exchange.respond(200, HeaderList{}, "released");
    }

    Task<void> serve(ServerExchange& exchange) {
        ++seen.requests;
        seen.remote = exchange.remote_address();
        const std::string path(exchange.head().path);
        if (path == "/echo") co_return co_await echo(exchange);
        if (path == "/stream") co_return co_await stream(exchange, 3, false);
        if (path == "/empty-stream") co_return co_await stream(exchange, 0, false);
        if (path == "/broken") co_return co_await stream(exchange, 2, true);
        if (path == "/throw") throw std::runtime_error("handler bug");
        if (path == "/silent") co_return;
        if (path == "/throw-in-stream") {
            (void)co_await exchange.start_stream(200, HeaderList{});
            (void)co_await exchange.write("some");
            throw std::runtime_error("handler bug");
        }
        if (path == "/gone") co_return co_await wait_gone(exchange);
        if (path == "/hold") {
            ++seen.waiting;
            co_await hold(release);
            --seen.waiting;
        }
        if (path == "/inject") {
            HeaderList headers;
            headers.emplace_back("x-value", "a\r\nset-cookie: evil");
            headers.emplace_back("content-length", "999");
            headers.emplace_back("Transfer-Encoding", "chunked");
            co_return (void) co_await exchange.respond(200, std::move(headers), "ok");
        }
        if (path == "/none") co_return (void) co_await exchange.respond(204, HeaderList{}, "");
        (void)co_await exchange.respond(200, HeaderList{}, "plain");
    }
};

class HttpServerTest : public testing::Test {
  protected:
    HttpServerTest() : release_(io_, std::chrono::hours(1)) {}

    void start(ServerLimits limits = {}) {
        HttpServer::Options options;
        options.limits = limits;
        Site& site = site_;
        server_.emplace(io_, options, [&site](ServerExchange& e) { return site.serve(e); });
        const Result<void> started = server_->start();
        ASSERT_TRUE(started.ok()) << started.error().message;
    }
    // Sends raw bytes and returns all that comes until the server closes.
    std::string talk(std::string bytes) {
        std::string answer;
        RawClient client(io_, server_->port());
        run_until_done(io_, talk_to(client, std::move(bytes), answer));
        return answer;
    }
    static Task<void> talk_to(RawClient& client, std::string bytes, std::string& answer) {
        co_await client.send(std::move(bytes));
        answer = co_await client.read_to_end();
    }
    static Task<void> exchange(RawClient& client, std::string bytes, std::string marker,
                               std::string& answer) {
        co_await client.send(std::move(bytes));
        answer = co_await client.read_until(std::move(marker));
    }

    asio::io_context io_;
    asio::steady_timer release_;
    Seen seen_;
    Site site_{seen_, release_};
    std::optional<HttpServer> server_;
};

}  // namespace hearth
