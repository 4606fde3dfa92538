// HttpClient: HTTP/1.1 requests to an upstream, with keep-alive pooling and deadlines.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "common/base/result.h"
#include "common/net/asio.h"
#include "common/net/http_head.h"
#include "common/net/http_server.h"

namespace hearth {

// One request on one upstream connection. Use from one coroutine at a time; destroying it in
// mid-exchange closes the connection (this is how an upstream is aborted).
class ClientExchange {
  public:
    virtual ~ClientExchange() = default;

    // Writes head (and `first_body` in the same write). Body framing is ours: kLength states
    // `content_length`, kChunked frames each write_body(); connection and framing fields among
    // `fields` are dropped. kInvalidArgument for bytes that would end a line early.
    struct RequestOptions {
        std::string_view method = "GET";
        std::string_view target = "/";
        std::string_view host;
        BodyKind body = BodyKind::kNone;
        std::uint64_t content_length = 0;
    };
    virtual Task<Result<void>> send_head(const RequestOptions& options,
                                         const std::vector<HeaderField>& fields,
                                         std::string_view first_body = {}) = 0;
    // The same without a coroutine where the socket takes all of it at once: true if `sent` says
    // how it ended, false if the caller is to wait for write_rest().
    virtual bool send_head_now(const RequestOptions& options,
                               const std::vector<HeaderField>& fields, std::string_view first_body,
                               Result<void>& sent) = 0;
    virtual Task<Result<void>> write_rest() = 0;
    virtual Task<Result<void>> write_body(std::string_view bytes) = 0;
    virtual Task<Result<void>> finish_body() = 0;

    // The response head; 1xx are skipped. kTimeout after `timeout`; the call may then be made
    // again, as may read_body_some(), to wait on. Views live until the exchange is destroyed.
    // kUnavailable: closed before a byte of the answer came (if reused(), try again on a fresh
    // connection); kCorrupt: nonsense, or closed within the head.
    virtual Task<Result<const ResponseHead*>> read_head(std::chrono::milliseconds timeout) = 0;
    // Body bytes, framing removed, as a view valid until the next call; empty at the end.
    virtual Task<Result<std::string_view>> read_body_some(std::chrono::milliseconds timeout) = 0;
    // Some bytes of a body whose length the head told, straight into `buffer`; 0 at the end.
    virtual Task<Result<std::size_t>> read_body_into(asio::mutable_buffer buffer,
                                                     std::chrono::milliseconds timeout) = 0;
    // The same without a coroutine: false if nothing has come that was not told yet.
    virtual bool body_at_hand(Result<std::string_view>& body) = 0;

    // From another coroutine of the same thread: closes the connection, so that the call that is
    // running fails with kCancelled at once.
    virtual void abort() = 0;

    virtual bool reused() const = 0;    // A kept connection, which the peer may have closed.
    virtual bool sent_any() const = 0;  // Some byte of the request reached the socket.
};

// Keep-alive connections per "host:port". One io_context. Bounded idle connections per upstream.
class HttpClient {
  public:
    struct Options {
        std::chrono::milliseconds connect_timeout{1'000};
        std::chrono::milliseconds connect_hedge{0};  // See hedged_connect.h.
        std::chrono::milliseconds idle_timeout{30'000};
        std::size_t idle_per_upstream_max = 64;
        std::chrono::milliseconds write_timeout{30'000};  // A write that makes no progress.
        // Of a program that runs until it is told to end: kept connections are watched, and the
        // timer of deadlines stays. Else a client without requests leaves its io_context without
        // work.
        bool loop_runs_on = false;
        std::shared_ptr<const TlsContext> tls;  // Of all upstreams; null: plain HTTP.
    };
    HttpClient(asio::io_context& io, Options options);
    explicit HttpClient(asio::io_context& io) : HttpClient(io, Options{}) {}
    ~HttpClient();

    void set_tls(std::shared_ptr<const TlsContext> tls);  // For connections from now on.

    // A connection to "host:port" (name or address; `fresh` forbids a kept one). kUnavailable or
    // kTimeout name the address; kExhausted: we have no descriptor left for one.
    // Resolution is cached for a few seconds.
    Task<Result<std::unique_ptr<ClientExchange>>> open(const std::string& host_port,
                                                       bool fresh = false);
    // On a kept connection; null if there is none.
    std::unique_ptr<ClientExchange> open_kept(const std::string& host_port);

    // Whole request and answer in one call (body up to 16 MiB), for probes, tools and peers.
    struct Answer {
        int status = 0;
        std::string body;
        std::vector<std::pair<std::string, std::string>> headers;
    };
    Task<Result<Answer>> call(const std::string& host_port, std::string_view method,
                              std::string_view target, HeaderList headers, std::string_view body,
                              std::chrono::milliseconds timeout);

  private:
    class State;
    std::shared_ptr<State> state_;
};

}  // namespace hearth
