// HttpServer: listens, accepts up to its bound, owns the connections and ends them in order.
#include "common/net/http_server.h"

#include <sys/resource.h>
#include <sys/socket.h>

#include <algorithm>
#include <map>
#include <unordered_set>

#include "common/base/log.h"
#include "common/net/server_connection.h"

namespace hearth {
namespace {

using boost::system::error_code;
using std::chrono::milliseconds;
using ConnectionPtr = std::shared_ptr<ServerConnection>;

// How long drain() waits for the first request of a connection that was made just before it.
constexpr milliseconds kFreshMs{2'000};
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

// What one client is known by: its IPv4 address, or its IPv6 network of 64 bits, since whoever has
// one address of those has them all.
using Origin = std::array<unsigned char, 8>;

Origin origin_of(const Tcp::socket& socket) {
    Origin origin{};
    error_code ec;
    const asio::ip::address address = socket.remote_endpoint(ec).address();
    if (ec) return origin;
    if (address.is_v4() || address.to_v6().is_v4_mapped()) {
        const auto v4 = address.is_v4()
                            ? address.to_v4()
                            : asio::ip::make_address_v4(asio::ip::v4_mapped, address.to_v6());
        const auto bytes = v4.to_bytes();
        // A prefix that no IPv6 network has.
        std::copy(bytes.begin(), bytes.end(), origin.begin() + 4);
        return origin;
    }
    const auto bytes = address.to_v6().to_bytes();
    std::copy_n(bytes.begin(), origin.size(), origin.begin());
    return origin;
}

// The share of connections that is closed at once when there is no room, so that looking for them
// stays cheap under a flood.
constexpr std::size_t kEvictShare = 64;

}  // namespace

// Shared by the server and by the coroutines it started. One io_context.
// Invariant: `connections` holds exactly the connections whose coroutine has not ended.
class HttpServer::State : public std::enable_shared_from_this<State> {
  public:
    State(asio::io_context& loop, Options opts, HttpHandler handler)
        : io(loop), options(std::move(opts)), acceptor(loop), accept_pause(loop), all_gone(loop) {
        context.limits = options.limits;
        context.tls = options.tls;
        context.handler = std::move(handler);
        context.deadlines = std::make_shared<Deadlines>(loop);
    }

    Result<void> listen();
    Result<void> bind_to(const Tcp::endpoint& endpoint);
    bool take_listener(const Tcp::endpoint& endpoint);
    void accept();
    void empty_queue();
    void close_listener();
    static Task<void> accept_loop(std::shared_ptr<State> self);
    static Task<void> run(std::shared_ptr<State> self, ConnectionPtr connection);
    void adopt(Tcp::socket socket);
    bool make_room();
    bool admit_origin(const Origin& origin);
    void forget_origin(const Origin& origin);
    void ended(const ConnectionPtr& connection, const Origin& origin);
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
    std::size_t evicted = 0;                // Of `connections`: closed, and about to end.
    std::map<Origin, std::size_t> origins;  // Connections of each; only kept when bounded.
    Tcp::endpoint local;
    bool accepting = false;    // accept_loop() has not ended.
    bool handed_over = false;  // A successor has the listener too.
};

Result<void> HttpServer::State::listen() {
    error_code ec;
    Tcp::resolver resolver(io);
    const auto found =
        resolver.resolve(options.address, std::to_string(options.port), Tcp::resolver::passive, ec);
    if (ec || found.empty()) return address_error(options, ec.message());
    const Tcp::endpoint endpoint = found.begin()->endpoint();
    if (!take_listener(endpoint))
        if (auto bound = bind_to(endpoint); !bound) return bound;
    if (options.accept_at_start) accept();
    return {};
}

Result<void> HttpServer::State::bind_to(const Tcp::endpoint& endpoint) {
    error_code ec;
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
    if (!ec) return {};
    const Error error = address_error(options, ec.message());
    acceptor.close(ec);
    return error;
}

// False if there is none, or it stands for another address.
bool HttpServer::State::take_listener(const Tcp::endpoint& endpoint) {
    if (options.listener < 0) return false;
    error_code ec;
    acceptor.assign(endpoint.protocol(), options.listener, ec);
    if (ec) {
        log::warn("the inherited socket cannot be used", {{"error", ec.message()}});
        ::close(options.listener);
        return false;
    }
    local = acceptor.local_endpoint(ec);
    const bool same_port = endpoint.port() == 0 || endpoint.port() == local.port();
    if (!ec && same_port && endpoint.address() == local.address()) return true;
    log::warn("the inherited socket stands for another address",
              {{"address", local.address().to_string()}, {"port", local.port()}});
    close_listener();
    return false;
}

void HttpServer::State::accept() {
    if (accepting || !acceptor.is_open()) return;
    accepting = true;
    asio::co_spawn(io, accept_loop(shared_from_this()),
                   [self = shared_from_this()](std::exception_ptr) { self->accepting = false; });
}

Task<void> HttpServer::State::accept_loop(std::shared_ptr<State> self) {
    while (self->acceptor.is_open()) {
        error_code ec;
        Tcp::socket socket =
            co_await self->acceptor.async_accept(asio::redirect_error(asio::use_awaitable, ec));
        // Also when the acceptor was closed meanwhile: the client is connected.
        if (!ec) {
            self->adopt(std::move(socket));
            continue;
        }
        if (ec == asio::error::operation_aborted || !self->acceptor.is_open()) break;
        if (ec == asio::error::connection_aborted) continue;
        // Out of descriptors or memory: the backlog keeps the clients until some are freed.
        self->make_room();
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
    const bool full = connections.size() - evicted >= options.limits.connections_max;
    Origin origin{};
    if (options.limits.connections_per_address_max > 0) origin = origin_of(socket);
    if (!admit_origin(origin)) {
        if (!context.tls) turn_away(std::move(socket));  // In TLS nobody would understand it.
        return;
    }
    if (full && !make_room()) {
        forget_origin(origin);
        if (!context.tls) turn_away(std::move(socket));  // In TLS nobody would understand it.
        return;
    }
    const auto connection = std::make_shared<ServerConnection>(context, std::move(socket));
    connections.insert(connection);
    const auto when_over = [self = shared_from_this(), connection, origin](std::exception_ptr) {
        self->ended(connection, origin);
    };
    asio::co_spawn(io, run(shared_from_this(), connection),
                   asio::bind_cancellation_slot(connection->cancellation().slot(), when_over));
}

void HttpServer::State::ended(const ConnectionPtr& connection, const Origin& origin) {
    connections.erase(connection);
    forget_origin(origin);
    if (connection->evicted()) --evicted;
    if (connections.empty()) all_gone.cancel();
}

// Closes those that have waited longest for a request or the rest of its head: a flood of them must
// not keep others out, and who has just come is the last to go. False if everybody is being served.
bool HttpServer::State::make_room() {
    std::vector<ServerConnection*> idle;
    for (const ConnectionPtr& connection : connections)
        if (connection->waits_for_request()) idle.push_back(connection.get());
    if (idle.empty()) return false;
    const std::size_t wanted = 1 + options.limits.connections_max / kEvictShare;
    const std::size_t count = std::min(idle.size(), wanted);
    const auto goes_first = [](const ServerConnection* a, const ServerConnection* b) {
        return a->waiting_since() < b->waiting_since();
    };
    const auto nth = idle.begin() + static_cast<std::ptrdiff_t>(count) - 1;
    std::nth_element(idle.begin(), nth, idle.end(), goes_first);
    for (auto each = idle.begin(); each <= nth; ++each) (*each)->evict();
    evicted += count;
    return true;
}

bool HttpServer::State::admit_origin(const Origin& origin) {
    const std::size_t bound = options.limits.connections_per_address_max;
    if (bound == 0) return true;
    std::size_t& open = origins[origin];
    if (open >= bound) return false;
    ++open;
    return true;
}

void HttpServer::State::forget_origin(const Origin& origin) {
    const auto known = origins.find(origin);
    if (known != origins.end() && --known->second == 0) origins.erase(known);
}

void HttpServer::State::stop_accepting() {
    accept_pause.cancel();
    close_listener();
}

// Another process may hold the same socket. Closing ours alone would leave it in our epoll set,
// pointing at freed memory; release() takes it out.
void HttpServer::State::close_listener() {
    if (!acceptor.is_open()) return;
    error_code ignored;
    const int listener = acceptor.release(ignored);
    if (listener >= 0) ::close(listener);
}

// Closing a listener resets the connections that the kernel has accepted for it but we have not.
void HttpServer::State::empty_queue() {
    if (!accepting || handed_over || !acceptor.is_open()) return;
    error_code ec;
    acceptor.non_blocking(true, ec);
    while (!ec) {
        Tcp::socket socket(io);
        acceptor.accept(socket, ec);
        if (!ec) adopt(std::move(socket));
    }
}

void HttpServer::State::cut_all() {
    // The signal must be alive until the loop has passed it on: Asio keeps a bare pointer to it
    // when it is emitted outside the loop.
    for (const ConnectionPtr& connection : connections) {
        asio::post(io, [connection] {
            connection->cut();
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

void HttpServer::accept() {
    state_->accept();
}

int HttpServer::listener() const {
    return state_->acceptor.is_open() ? state_->acceptor.native_handle() : -1;
}

void HttpServer::set_tls(std::shared_ptr<const TlsContext> tls) {
    state_->context.tls = std::move(tls);
}

void HttpServer::begin_drain() {
    state_->context.draining = true;
}

void HttpServer::hand_over() {
    state_->handed_over = true;
}

void HttpServer::stop_accepting() {
    asio::post(state_->io, [state = state_] {
        state->empty_queue();
        state->stop_accepting();
    });
}

Task<void> HttpServer::drain(milliseconds grace) {
    const std::shared_ptr<State> state = state_;
    state->context.draining = true;
    state->empty_queue();
    state->stop_accepting();
    // One more connection may have been accepted that the loop has not heard of yet.
    while (state->accepting) co_await asio::post(asio::use_awaitable);
    const std::vector<ConnectionPtr> all(state->connections.begin(), state->connections.end());
    for (const ConnectionPtr& connection : all) connection->close_if_idle();
    const milliseconds fresh = std::min(grace, kFreshMs);
    co_await state->wait_until_empty(fresh);
    const std::vector<ConnectionPtr> left(state->connections.begin(), state->connections.end());
    for (const ConnectionPtr& connection : left) connection->close_if_silent();
    co_await state->wait_until_empty(grace - fresh);
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
