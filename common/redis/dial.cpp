// Addresses are tried in the resolver's order, sentinels in the order of the last success.
#include "common/redis/dial.h"

#include <algorithm>

#include "common/net/http_server.h"

namespace hearth {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kConnectTimeoutMin{1'000};

Task<Result<std::vector<Tcp::endpoint>>> resolve(asio::io_context& io, std::string host,
                                                 std::uint16_t port) {
    std::vector<Tcp::endpoint> endpoints;
    boost::system::error_code failed;
    // A literal address needs no resolver, whose look-ups cannot be interrupted.
    const auto literal = asio::ip::make_address(host, failed);
    if (!failed) {
        endpoints.emplace_back(literal, port);
        co_return endpoints;
    }
    failed.clear();
    Tcp::resolver resolver(io);
    const auto found = co_await resolver.async_resolve(
        host, std::to_string(port), asio::redirect_error(asio::use_awaitable, failed));
    if (failed)
        co_return make_error(ErrorCode::kUnavailable, "cannot resolve: " + failed.message());
    for (const auto& entry : found) endpoints.push_back(entry.endpoint());
    co_return endpoints;
}

// What one sentinel says.
Task<Result<std::string>> ask(asio::io_context& io, std::string sentinel,
                              const RedisOptions& options, std::shared_ptr<Link>& link) {
    const auto linked = co_await dial(io, sentinel, options, link);
    if (!linked) co_return linked.error();
    std::vector<std::string> commands;
    if (!options.sentinel_password.empty())
        commands.push_back(command_of("AUTH", options.sentinel_password));
    commands.push_back(command_of("SENTINEL", "get-master-addr-by-name", options.master_name));
    auto replies = co_await link->exchange(std::move(commands), options.command_timeout);
    link->close(make_error(ErrorCode::kCancelled, "the sentinel was asked"));
    if (!replies) co_return replies.error();
    for (const Reply& reply : *replies)
        if (reply.kind == Reply::Kind::kError) co_return error_of(reply);
    const Reply& place = replies->back();
    if (place.kind == Reply::Kind::kNil)
        co_return make_error(ErrorCode::kUnavailable,
                             "knows no master named '" + options.master_name + "'");
    if (place.items.size() != 2)
        co_return make_error(ErrorCode::kCorrupt, "does not answer like a sentinel");
    const std::string& host = place.items[0].text;
    const bool six = host.find(':') != std::string::npos;
    const std::string port = ":" + place.items[1].text;
    co_return six ? "[" + host + "]" + port : host + port;
}

}  // namespace

Task<Result<void>> dial(asio::io_context& io, const std::string& host_port,
                        const RedisOptions& options, std::shared_ptr<Link>& link) {
    const auto place = split_host_port(host_port);
    if (!place) co_return place.error();
    const auto endpoints = co_await resolve(io, place->first, place->second);
    if (!endpoints) co_return endpoints.error();
    Result<void> connected = make_error(ErrorCode::kUnavailable, "the name has no address");
    for (const Tcp::endpoint& endpoint : *endpoints) {
        link = std::make_shared<Link>(io);
        const auto held = link;  // The owner may let go of it.
        Link::Security security;
        security.tls = options.tls;
        security.host = place->first;
        connected = co_await held->connect(endpoint, std::move(security),
                                           std::max(options.command_timeout, kConnectTimeoutMin));
        if (connected || connected.error().code == ErrorCode::kCancelled) break;
    }
    co_return connected;
}

Task<Result<std::string>> find_master(asio::io_context& io, RedisOptions& options,
                                      std::shared_ptr<Link>& link) {
    std::string failures;
    for (std::size_t i = 0; i < options.sentinels.size(); ++i) {
        const std::string sentinel = options.sentinels[i];
        auto master = co_await ask(io, sentinel, options, link);
        if (master) {
            std::swap(options.sentinels[0], options.sentinels[i]);
            co_return master;
        }
        if (master.error().code == ErrorCode::kCancelled) co_return master.error();
        failures += (failures.empty() ? "" : "; ") + sentinel + " " + master.error().message;
    }
    co_return make_error(ErrorCode::kUnavailable, "no sentinel names the master: " + failures);
}

}  // namespace hearth
