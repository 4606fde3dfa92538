// HttpClient: opens and keeps connections per upstream, resolves names, and runs whole calls.
#include "common/net/http_client.h"

#include <algorithm>
#include <unordered_map>

#include "common/net/client_connection.h"
#include "common/net/hedged_connect.h"

namespace hearth {
namespace {

using boost::system::error_code;
using std::chrono::milliseconds;

constexpr MonotonicNs kResolvedFor = 5 * kSecond;
constexpr MonotonicNs kPruneEvery = kSecond;
constexpr MonotonicNs kAskedAfter = kSecond / 2;  // No server gives a connection up sooner.
constexpr std::size_t kCallBodyBytesMax = 16 * 1024 * 1024;

MonotonicNs now() {
    return SystemClock::instance().now();
}

milliseconds until(MonotonicNs at) {
    return milliseconds(std::max<MonotonicNs>((at - now() + kMs - 1) / kMs, 0));
}

Error named(const Error& error, const std::string& host_port) {
    return make_error(error.code, host_port + ": " + error.message);
}

// What a name stands for; filled by Asio's resolver thread's completion, on the loop.
struct Resolution {
    explicit Resolution(asio::io_context& io) : resolver(io), waiting(io) {}
    Tcp::resolver resolver;
    asio::steady_timer waiting;  // Cancelled when the answer is there.
    error_code ec;
    std::vector<Tcp::endpoint> endpoints;
    bool done = false;
};

}  // namespace

// Shared by the client and its exchanges. One io_context.
// Invariant: every idle connection has finished its exchange cleanly.
class HttpClient::State : public std::enable_shared_from_this<State> {
  public:
    using Connection = std::unique_ptr<ClientConnection>;

    State(asio::io_context& loop, Options opts)
        : io(loop), options(opts), deadlines(std::make_shared<Deadlines>(loop)) {}

    Connection take_idle(const std::string& host_port);
    void give_back(Connection connection);
    MonotonicNs prune();  // Returns the time.
    void close();         // The client is gone; exchanges may still be running.
    Task<Result<std::vector<Tcp::endpoint>>> resolve(std::string host_port, milliseconds timeout);
    Task<Result<Connection>> connect(std::string host_port);

    asio::io_context& io;
    Options options;

  private:
    struct Idle {
        Connection connection;
        MonotonicNs since = 0;
    };
    struct Upstream {
        std::vector<Idle> idle;  // Oldest first.
        std::vector<Tcp::endpoint> endpoints;
        MonotonicNs resolved_at = 0;
    };
    std::shared_ptr<Deadlines> deadlines;
    std::unordered_map<std::string, Upstream> upstreams;
    MonotonicNs pruned_at = 0;
    bool closed = false;
};

void HttpClient::State::close() {
    closed = true;
    upstreams.clear();
}

// One that was used a moment ago is as the loop knows it. Of one that rested for long the loop may
// not have heard yet that its server gave it up: the socket is asked.
HttpClient::State::Connection HttpClient::State::take_idle(const std::string& host_port) {
    const MonotonicNs time = prune();
    const auto found = upstreams.find(host_port);
    if (found == upstreams.end()) return nullptr;
    std::vector<Idle>& idle = found->second.idle;
    while (!idle.empty()) {
        Connection connection = std::move(idle.back().connection);
        const bool rested = time - idle.back().since > kAskedAfter;
        idle.pop_back();
        TcpStream& stream = connection->stream();
        if (stream.stayed_quiet() && (!rested || stream.quiet())) return connection;
    }
    return nullptr;
}

void HttpClient::State::give_back(Connection connection) {
    if (closed || !connection->reusable()) return;
    std::vector<Idle>& idle = upstreams[connection->host()].idle;
    if (idle.size() >= options.idle_per_upstream_max) return;
    connection->stream().forget_kept();
    if (options.loop_runs_on) connection->stream().watch_idle();
    idle.push_back({std::move(connection), SystemClock::instance().coarse_now()});
    if (!options.loop_runs_on) deadlines->settle();
}

// Closes what has been idle too long and forgets upstreams that are no longer used. Done on the
// way, not by a timer, so that an idle client leaves its io_context without work.
MonotonicNs HttpClient::State::prune() {
    const MonotonicNs time = SystemClock::instance().coarse_now();
    if (time - pruned_at < kPruneEvery) return time;
    pruned_at = time;
    const MonotonicNs oldest = time - options.idle_timeout.count() * kMs;
    for (auto& entry : upstreams)
        std::erase_if(entry.second.idle, [&](const Idle& idle) { return idle.since < oldest; });
    std::erase_if(upstreams, [&](const auto& entry) {
        return entry.second.idle.empty() && time - entry.second.resolved_at > kResolvedFor;
    });
    return time;
}

Task<Result<std::vector<Tcp::endpoint>>> HttpClient::State::resolve(std::string host_port,
                                                                    milliseconds timeout) {
    auto parts = split_host_port(host_port);
    if (!parts) co_return parts.error();
    error_code ec;
    const asio::ip::address address = asio::ip::make_address(parts->first, ec);
    if (!ec) co_return std::vector<Tcp::endpoint>{Tcp::endpoint(address, parts->second)};
    if (const auto known = upstreams.find(host_port);
        known != upstreams.end() && !known->second.endpoints.empty() &&
        now() - known->second.resolved_at < kResolvedFor)
        co_return known->second.endpoints;
    // A look-up cannot be interrupted, so the wait for it is: a late answer finds nobody waiting.
    const auto resolution = std::make_shared<Resolution>(io);
    resolution->waiting.expires_after(timeout);
    resolution->resolver.async_resolve(
        parts->first, std::to_string(parts->second), Tcp::resolver::numeric_service,
        [resolution](const error_code& failure, const Tcp::resolver::results_type& found) {
            resolution->done = true;
            resolution->ec = failure;
            for (const auto& entry : found) resolution->endpoints.push_back(entry.endpoint());
            resolution->waiting.cancel();
        });
    co_await resolution->waiting.async_wait(asio::redirect_error(asio::use_awaitable, ec));
    if (!resolution->done) {
        resolution->resolver.cancel();
        co_return make_error(ErrorCode::kTimeout, "name look-up timed out");
    }
    if (resolution->ec || resolution->endpoints.empty())
        co_return make_error(ErrorCode::kUnavailable,
                             "name look-up failed: " + resolution->ec.message());
    Upstream& upstream = upstreams[host_port];
    upstream.endpoints = resolution->endpoints;
    upstream.resolved_at = now();
    co_return resolution->endpoints;
}

Task<Result<HttpClient::State::Connection>> HttpClient::State::connect(std::string host_port) {
    const MonotonicNs deadline = now() + options.connect_timeout.count() * kMs;
    auto endpoints = co_await resolve(host_port, options.connect_timeout);
    if (!endpoints) co_return named(endpoints.error(), host_port);
    const std::string host = split_host_port(host_port)->first;
    Error last = make_error(ErrorCode::kUnavailable, "no address");
    for (const Tcp::endpoint& endpoint : *endpoints) {
        auto connected = co_await connect_hedged(io, deadlines, endpoint, until(deadline),
                                                 options.connect_hedge);
        if (connected && options.tls) {
            TcpStream& stream = (*connected)->stream();
            auto session = std::make_unique<TlsSession>(*options.tls, stream.native_handle(), host);
            const Result<void> secured =
                co_await stream.start_tls(std::move(session), until(deadline));
            if (!secured) connected = secured.error();
        }
        if (connected) co_return connected;
        last = connected.error();
        if (last.code != ErrorCode::kUnavailable) break;
    }
    co_return named(last, host_port);
}

namespace {

// The caller's end of a ClientConnection; gives it back to the pool, or closes it.
template <typename State>
class PooledExchange final : public ClientExchange {
  public:
    PooledExchange(std::shared_ptr<State> state, const std::string& host_port,
                   std::unique_ptr<ClientConnection> connection, bool kept)
        : state_(std::move(state)), connection_(std::move(connection)), reused_(kept) {
        connection_->begin(host_port, state_->options.write_timeout);
    }
    ~PooledExchange() override { state_->give_back(std::move(connection_)); }

    Task<Result<void>> send_head(const RequestOptions& options,
                                 const std::vector<HeaderField>& fields,
                                 std::string_view first_body) override {
        return connection_->send_head(options, fields, first_body);
    }
    bool send_head_now(const RequestOptions& options, const std::vector<HeaderField>& fields,
                       std::string_view first_body, Result<void>& sent) override {
        return connection_->send_head_now(options, fields, first_body, sent);
    }
    Task<Result<void>> write_rest() override { return connection_->write_rest(); }
    Task<Result<void>> write_body(std::string_view bytes) override {
        return connection_->write_body(bytes);
    }
    Task<Result<void>> finish_body() override { return connection_->finish_body(); }
    Task<Result<const ResponseHead*>> read_head(milliseconds timeout) override {
        return connection_->read_head(timeout);
    }
    Task<Result<std::size_t>> read_body_into(asio::mutable_buffer buffer,
                                             milliseconds timeout) override {
        return connection_->read_body_into(buffer, timeout);
    }
    Task<Result<std::string_view>> read_body_some(milliseconds timeout) override {
        return connection_->read_body_some(timeout);
    }
    bool body_at_hand(Result<std::string_view>& body) override {
        return connection_->body_at_hand(body);
    }
    void abort() override { connection_->stream().close(); }
    bool reused() const override { return reused_; }
    bool sent_any() const override { return connection_->stream().wrote_any(); }

  private:
    std::shared_ptr<State> state_;
    std::unique_ptr<ClientConnection> connection_;
    bool reused_;
};

}  // namespace

HttpClient::HttpClient(asio::io_context& io, Options options)
    : state_(std::make_shared<State>(io, options)) {}

void HttpClient::set_tls(std::shared_ptr<const TlsContext> tls) {
    state_->options.tls = std::move(tls);
}

HttpClient::~HttpClient() {
    state_->close();
}

std::unique_ptr<ClientExchange> HttpClient::open_kept(const std::string& host_port) {
    State::Connection connection = state_->take_idle(host_port);
    if (!connection) return nullptr;
    return std::make_unique<PooledExchange<State>>(state_, host_port, std::move(connection), true);
}

Task<Result<std::unique_ptr<ClientExchange>>> HttpClient::open(const std::string& host_port,
                                                               bool fresh) {
    const std::shared_ptr<State> state = state_;
    const std::string key = host_port;
    std::unique_ptr<ClientExchange> exchange;
    if (!fresh) exchange = open_kept(key);
    if (exchange) co_return exchange;
    auto opened = co_await state->connect(key);
    if (!opened) co_return opened.error();
    exchange = std::make_unique<PooledExchange<State>>(state, key, std::move(*opened), false);
    co_return exchange;
}

namespace {

// Sends the request and reads the answer within what is left until `deadline`.
Task<Result<HttpClient::Answer>> run_call(ClientExchange& exchange,
                                          const ClientExchange::RequestOptions& options,
                                          const HeaderList& headers, std::string_view body,
                                          MonotonicNs deadline) {
    std::vector<HeaderField> fields;
    for (const auto& [name, value] : headers) fields.push_back({name, value});
    Result<void> sent = co_await exchange.send_head(options, fields, body);
    if (!sent) co_return sent.error();
    auto head = co_await exchange.read_head(until(deadline));
    if (!head) co_return head.error();
    HttpClient::Answer answer;
    answer.status = (*head)->status;
    for (const HeaderField& field : (*head)->fields)
        answer.headers.emplace_back(field.name, field.value);
    while (true) {
        auto piece = co_await exchange.read_body_some(until(deadline));
        if (!piece) co_return piece.error();
        if (piece->empty()) break;
        answer.body.append(*piece);
        if (answer.body.size() > kCallBodyBytesMax)
            co_return make_error(ErrorCode::kTooLarge, "the answer is larger than 1 MiB");
    }
    co_return answer;
}

}  // namespace

Task<Result<HttpClient::Answer>> HttpClient::call(const std::string& host_port,
                                                  std::string_view method, std::string_view target,
                                                  HeaderList headers, std::string_view body,
                                                  milliseconds timeout) {
    const MonotonicNs deadline = now() + timeout.count() * kMs;
    ClientExchange::RequestOptions options;
    options.method = method;
    options.target = target;
    options.body = body.empty() ? BodyKind::kNone : BodyKind::kLength;
    options.content_length = body.size();
    const std::string key = host_port;
    bool fresh = false;
    while (true) {
        auto exchange = co_await open(key, fresh);
        if (!exchange) co_return exchange.error();
        Result<Answer> answer = co_await run_call(**exchange, options, headers, body, deadline);
        if (answer) co_return answer;
        // A kept connection that the peer closed meanwhile: once more, if asking twice does no
        // harm.
        const bool again = (*exchange)->reused() && method == "GET" &&
                           answer.error().code == ErrorCode::kUnavailable;
        if (!again) co_return named(answer.error(), key);
        fresh = true;
    }
}

}  // namespace hearth
