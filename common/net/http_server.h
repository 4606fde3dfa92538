// HttpServer: HTTP/1.1 over TCP for the router and the node; one coroutine per connection.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/result.h"
#include "common/net/asio.h"
#include "common/net/http_head.h"
#include "common/net/tls.h"

namespace hearth {

struct ServerLimits {
    HeadLimits head;
    std::chrono::milliseconds head_timeout{10'000};  // First byte of a head to its last.
    std::chrono::milliseconds idle_timeout{75'000};  // Between requests on one connection.
    std::chrono::milliseconds body_timeout{30'000};  // Between two reads of a body.
    // A client that is waited for must send its body at this rate, measured over `body_window`;
    // bytes a second, 0 = any rate.
    std::size_t body_rate_min = 500;
    std::chrono::milliseconds body_window{10'000};
    // For 16 KiB of an answer (or what is left of it) that a client is slow to read.
    std::chrono::milliseconds write_timeout{30'000};
    // When full, a newcomer takes the place of those that have waited longest for a request or for
    // the rest of its head; if there is none, it gets a 503.
    std::size_t connections_max = 4096;
    std::size_t connections_per_address_max = 0;  // Of one IPv4 address or IPv6 /64; 0 = no bound.
};

using HeaderList = std::vector<std::pair<std::string, std::string>>;

// One request and its answer, inside its connection's coroutine. Use from that coroutine only.
class ServerExchange {
  public:
    virtual ~ServerExchange() = default;

    virtual const RequestHead& head() const = 0;
    virtual std::string remote_address() const = 0;

    // Up to buffer.size() body bytes, framing removed; 0 at the end. Sends 100 Continue when asked.
    virtual Task<Result<std::size_t>> read_body_some(asio::mutable_buffer buffer) = 0;
    // The whole body; kTooLarge beyond `limit` (the connection then closes after the answer).
    virtual Task<Result<std::string>> read_body(std::size_t limit) = 0;
    // The whole body, if it has a length and is at hand already; it counts as read then. Lives as
    // long as the exchange. Empty if there is none, or some of it was read or is still to come.
    virtual std::string_view take_body() = 0;

    // A whole answer with Content-Length (no body bytes for HEAD). Connection and framing fields
    // among `headers` are ignored, Date is added, and control bytes in values become spaces. An
    // error means that the client is gone. (g++ 12 refuses braced lists inside a co_await: name
    // `headers` first.)
    virtual Task<Result<void>> respond(int status, HeaderList headers, std::string_view body) = 0;
    // The same with fields that are views of something that lives as long as the call.
    virtual Task<Result<void>> respond(int status, const std::vector<HeaderField>& fields,
                                       std::string_view body) = 0;

    // The same without a coroutine where the socket takes all of it at once: true if `sent` says
    // how it ended, false if the caller is to wait for write_rest().
    virtual bool respond_now(int status, const std::vector<HeaderField>& fields,
                             std::string_view body, Result<void>& sent) = 0;
    virtual Task<Result<void>> write_rest() = 0;

    // A streamed answer, chunked (HTTP/1.0 clients: until close). Each write leaves at once as one
    // chunk. Head and first write share one packet; write({}) sends the head alone.
    // With a length it is not chunked, and exactly so many bytes are to be written.
    virtual Task<Result<void>> start_stream(int status, HeaderList headers,
                                            std::optional<std::uint64_t> length = {}) = 0;
    virtual void start_stream(int status, const std::vector<HeaderField>& fields) = 0;
    virtual Task<Result<void>> write(std::string_view bytes) = 0;
    virtual bool write_now(std::string_view bytes, Result<void>& sent) = 0;  // As respond_now().
    virtual Task<Result<void>> finish_stream() = 0;
    // Ends the answer uncleanly: the connection is cut so that the client sees a broken stream.
    virtual void abort() = 0;

    virtual bool answered() const = 0;  // respond() or start_stream() was called.

    // Completes with true when the client has gone (FIN or RST) or the connection was cut by a
    // deadline, with false when cancelled. Run it beside the work with `||`, after the request body
    // was read. Pipelined bytes that arrive meanwhile are kept for the next request; once the
    // buffer is full of them a FIN behind them cannot be seen, and only a reset ends the wait.
    virtual Task<bool> wait_client_gone() = 0;
    // The same at far less cost, without a coroutine: calls `gone` once when the client has gone,
    // from the loop or at once, unless unwatch_client() comes first.
    virtual void watch_client(std::function<void()> gone) = 0;
    virtual void unwatch_client() = 0;
};

// A handler that throws or returns without an answer gives the client a 500 and closes.
using HttpHandler = std::function<Task<void>(ServerExchange&)>;

// Owned by one io_context (one thread). Nothing is detached: drain() and the destructor end every
// connection. Destroy it after its loop has stopped and before what its handler refers to: the
// destructor then cancels the running handlers and turns the loop until they have unwound.
// Destroyed on the running loop it only cancels them, and they unwind later.
class HttpServer {
  public:
    struct Options {
        std::string address = "127.0.0.1";
        std::uint16_t port = 0;   // 0 = any free port.
        bool reuse_port = false;  // Other processes may listen on the same port.
        // A listening socket to serve on, from a supervisor or a predecessor. It is taken if it
        // stands for `address` and `port`, and closed otherwise; -1 = none.
        int listener = -1;
        bool accept_at_start = true;            // Else accept() begins it.
        std::shared_ptr<const TlsContext> tls;  // Null: plain HTTP.
        ServerLimits limits;
    };

    HttpServer(asio::io_context& io, Options options, HttpHandler handler);
    ~HttpServer();

    Result<void> start();          // Binds and accepts; kUnavailable names the address.
    void accept();                 // If it was not to begin at start(). Idempotent.
    std::uint16_t port() const;    // After start().
    std::string endpoint() const;  // "127.0.0.1:8080"
    int listener() const;          // The listening socket; -1 once it is closed.
    void set_tls(std::shared_ptr<const TlsContext> tls);  // For connections from now on.
    // Stops. Connections that wait in the listener's queue are served, unless it was handed to a
    // successor, who serves them. Any thread.
    void stop_accepting();
    // Answers say `connection: close` from now on; new connections are still accepted.
    void begin_drain();
    void hand_over();  // A successor accepts on our listener: its queue is no longer ours.
    // Stops accepting, closes idle connections, lets busy ones finish their answer until `grace`,
    // then cuts them.
    Task<void> drain(std::chrono::milliseconds grace);
    std::size_t connections() const;

  private:
    class State;
    std::shared_ptr<State> state_;
};

// Raises this process's bound on descriptors as far as it may: each connection takes one, and the
// usual bound of 1024 is far below connections_max. Once, at start.
void use_all_descriptors();

// OpenAI's error object: {"error":{"message","type","param","code"}}; empty param and code are
// null.
std::string error_body(std::string_view message, std::string_view type, std::string_view param,
                       std::string_view code);

// Splits "host:port" or "[v6]:port". The error names the text.
Result<std::pair<std::string, std::uint16_t>> split_host_port(std::string_view text);

}  // namespace hearth
