// HttpServer: listens, accepts up to its bound, owns the connections and ends them in order.
#include "common/net/http_server.h"

#include <sys/resource.h>
#include <sys/socket.h>

#include <unordered_set>

#include "common/base/log.h"
#include "common/net/server_connection.h"

namespace hearth {
namespace {

using boost::system::error_code;
using std::chrono::milliseconds;
using ConnectionPtr = std::shared_ptr<ServerConnection>;

// What a handler gets to unwind after drain() cut it.
constexpr milliseconds kUnwindMs{1'000};
constexpr milliseconds kAcceptPauseMs{50};

Error address_error(const HttpServer::Options& options, const std::string& why) {
    return make_error(ErrorCode::kUnavailable, "cannot listen on " + options.address + ":" +
                                                   std::to_string(options.port) + ": " + why);
}

// Answers a connection over the bound as well as a socket buffer allows, without a coroutine.
void turn_away(Tcp::socket socket) {
    const std::string body = error_body("too many connections", "server_error", "", "overloaded");
    const std::string answer =
        "HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\nretry-after: 1\r\n"
        "connection: close\r\ncontent-length: " +
        std::to_string(body.size()) + "\r\n\r\n" + body;
    error_code ignored;
    socket.non_blocking(true, ignored);
    socket.write_some(asio::buffer(answer), ignored);
    socket.shutdown(Tcp::socket::shutdown_send, ignored);
    // Closing over unread bytes would reset the connection and with it the answer.
    std::array<char, 4096> scratch;
    socket.read_some(asio::buffer(scratch), ignored);
}

}  // namespace

// Shared by the server and by the coroutines it started. One io_context.
// Invariant: `connections` holds exactly the connections whose coroutine has not ended.
class HttpServer::State : public std::enable_shared_from_this<State> {
  public:
    State(asio::io_context& loop, Options opts, HttpHandler handler)
        : io(loop), options(std::move(opts)), acceptor(loop), accept_pause(loop), all_gone(loop) {
        context.limits = options.limits;
        context.handler = std::move(handler);
        context.deadlines = std::make_shared<Deadlines>(loop);
    }

    Result<void> listen();
    static Task<void> accept_loop(std::shared_ptr<State> self);
    static Task<void> run(std::shared_ptr<State> self, ConnectionPtr connection);
    void adopt(Tcp::socket socket);
    void stop_accepting();
    void cut_all();
    Task<void> wait_until_empty(milliseconds limit);

    asio::io_context& io;
    Options options;
    ServerContext context;
    Tcp::acceptor acceptor;
    asio::steady_timer accept_pause;
    asio::steady_timer all_gone;  // Cancelled when the last connection has ended.
    std::unordered_set<ConnectionPtr> connections;
    Tcp::endpoint local;
    bool accepting = false;  // accept_loop() has not ended.
};

Result<void> HttpServer::State::listen() {
    error_code ec;
    Tcp::resolver resolver(io);
    const auto found =
        resolver.resolve(options.address, std::to_string(options.port), Tcp::resolver::passive, ec);
    if (ec || found.empty()) return address_error(options, ec.message());
    const Tcp::endpoint endpoint = found.begin()->endpoint();
    acceptor.open(endpoint.protocol(), ec);
    if (ec) return address_error(options, ec.message());
    acceptor.set_option(Tcp::acceptor::reuse_address(true), ec);
    if (options.reuse_port) {
        const int on = 1;
        ::setsockopt(acceptor.native_handle(), SOL_SOCKET, SO_REUSEPORT, &on, sizeof on);
    }
    acceptor.bind(endpoint, ec);
    if (!ec) acceptor.listen(Tcp::acceptor::max_listen_connections, ec);
    if (!ec) local = acceptor.local_endpoint(ec);
    if (ec) {
        const Error error = address_error(options, ec.message());
        acceptor.close(ec);
        return error;
    }
    accepting = true;
    asio::co_spawn(io, accept_loop(shared_from_this()),
                   [self = shared_from_this()](std::exception_ptr) { self->accepting = false; });
    return {};
}

Task<void> HttpServer::State::accept_loop(std::shared_ptr<State> self) {
    while (self->acceptor.is_open()) {
        error_code ec;
        Tcp::socket socket =
            co_await self->acceptor.async_accept(asio::redirect_error(asio::use_awaitable, ec));
        if (ec == asio::error::operation_aborted || !self->acceptor.is_open()) break;
        if (!ec) {
            self->adopt(std::move(socket));
            continue;
        }
        if (ec == asio::error::connection_aborted) continue;
        // Out of descriptors or memory: the backlog keeps the clients until some are freed.
        log::warn("accept failed", {{"error", ec.message()}});
        self->accept_pause.expires_after(kAcceptPauseMs);
        co_await self->accept_pause.async_wait(asio::redirect_error(asio::use_awaitable, ec));
    }
}

Task<void> HttpServer::State::run(std::shared_ptr<State> self, ConnectionPtr connection) {
    (void)self;  // The frame keeps the context alive.
    try {
        co_await connection->serve();
    } catch (const std::exception& e) {
        // Cancellation unwinds a connection that was cut; anything else is worth a line.
        if (connection->open()) log::error("connection failed", {{"error", e.what()}});
    }
    connection->close();
}

void HttpServer::State::adopt(Tcp::socket socket) {
    if (connections.size() >= options.limits.connections_max) {
        turn_away(std::move(socket));
        return;
    }
    const auto connection = std::make_shared<ServerConnection>(context, std::move(socket));
    connections.insert(connection);
    const auto ended = [self = shared_from_this(), connection](std::exception_ptr) {
        self->connections.erase(connection);
        if (self->connections.empty()) self->all_gone.cancel();
    };
    asio::co_spawn(io, run(shared_from_this(), connection),
                   asio::bind_cancellation_slot(connection->cancellation().slot(), ended));
}

void HttpServer::State::stop_accepting() {
    error_code ignored;
    acceptor.close(ignored);
    accept_pause.cancel();
}

void HttpServer::State::cut_all() {
    // The signal must be alive until the loop has passed it on: Asio keeps a bare pointer to it
    // when it is emitted outside the loop.
    for (const ConnectionPtr& connection : connections) {
        asio::post(io, [connection] {
            connection->close();
            connection->cancellation().emit(asio::cancellation_type::terminal);
        });
    }
}

Task<void> HttpServer::State::wait_until_empty(milliseconds limit) {
    if (connections.empty()) co_return;
    error_code ignored;
    all_gone.expires_after(limit);
    co_await all_gone.async_wait(asio::redirect_error(asio::use_awaitable, ignored));
}

void use_all_descriptors() {
    rlimit bound{};
    if (getrlimit(RLIMIT_NOFILE, &bound) != 0) return;
    bound.rlim_cur = bound.rlim_max;
    setrlimit(RLIMIT_NOFILE, &bound);  // Refused, we live with the old one.
}

HttpServer::HttpServer(asio::io_context& io, Options options, HttpHandler handler)
    : state_(std::make_shared<State>(io, std::move(options), std::move(handler))) {
    CHECK(state_->options.limits.head.head_bytes_max <= kStreamBufferBytes / 2);
}

HttpServer::~HttpServer() {
    state_->stop_accepting();
    state_->context.draining = true;
    state_->cut_all();
    asio::io_context& io = state_->io;
    if (io.get_executor().running_in_this_thread()) return;
    // The loop has ended. Let the cut coroutines unwind now, while what they refer to still exists.
    const bool stopped = io.stopped();
    io.restart();
    while ((!state_->connections.empty() || state_->accepting) && io.poll_one() > 0) {
    }
    if (stopped) io.stop();
}

Result<void> HttpServer::start() {
    return state_->listen();
}

std::uint16_t HttpServer::port() const {
    return state_->local.port();
}

std::string HttpServer::endpoint() const {
    const auto address = state_->local.address();
    const std::string host =
        address.is_v6() ? "[" + address.to_string() + "]" : address.to_string();
    return host + ":" + std::to_string(port());
}

void HttpServer::stop_accepting() {
    asio::post(state_->io, [state = state_] { state->stop_accepting(); });
}

Task<void> HttpServer::drain(milliseconds grace) {
    const std::shared_ptr<State> state = state_;
    state->context.draining = true;
    state->stop_accepting();
    const std::vector<ConnectionPtr> all(state->connections.begin(), state->connections.end());
    for (const ConnectionPtr& connection : all) connection->close_if_idle();
    co_await state->wait_until_empty(grace);
    if (state->connections.empty()) co_return;
    log::warn("drain cut connections", {{"connections", state->connections.size()}});
    state->cut_all();
    co_await state->wait_until_empty(kUnwindMs);
    if (!state->connections.empty())
        log::error("handlers ignored their cancellation",
                   {{"connections", state->connections.size()}});
}

std::size_t HttpServer::connections() const {
    return state_->connections.size();
}

}  // namespace hearth
