// The life of a connection to Redis: resolve, connect, greet, watch, back off, begin again.
#include "common/redis/connection.h"

#include <algorithm>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/net/http_server.h"
#include "common/redis/dial.h"

namespace hearth {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kPingGap{500};
constexpr milliseconds kBackoffMin{50};
constexpr milliseconds kBackoffMax{2'000};
constexpr MonotonicNs kSteadyAfter = 5 * kSecond;  // A link that lived so long resets the back-off.

}  // namespace

RedisStore::Connection::Connection(asio::io_context& io, const RedisOptions& options)
    : io_(io),
      options_(options),
      target_(options.address),
      pause_(io),
      jitter_(static_cast<std::uint64_t>(SystemClock::instance().now())) {}

void RedisStore::Connection::start() {
    // The coroutine holds a reference to this object; stop() makes it end.
    asio::co_spawn(io_, run(), [](std::exception_ptr failed) {
        if (failed) std::rethrow_exception(failed);
    });
}

void RedisStore::Connection::stop() {
    if (stopped_) return;
    stopped_ = true;
    if (link_) link_->close(make_error(ErrorCode::kCancelled, "the Redis store was stopped"));
    pause_.cancel();
}

bool RedisStore::Connection::is_news(const std::string& text) {
    constexpr std::size_t kToldMax = 256;
    if (told_.size() >= kToldMax) told_.clear();
    return told_.insert(text).second;
}

Task<void> RedisStore::Connection::run() {
    const auto self = shared_from_this();
    const Clock& clock = SystemClock::instance();
    auto backoff = kBackoffMin;
    while (!stopped_) {
        const MonotonicNs began = clock.now();
        auto opened = co_await open();
        if (opened && !stopped_) {
            told_.clear();
            log::info("redis connected", {{"address", target_}});
            co_await watch();
        }
        ready_ = false;
        if (stopped_) break;
        const Error why = opened ? link_->why() : opened.error();
        if (link_) link_->close(why);
        if (is_news(why.message))
            log::warn("redis unavailable", {{"address", target_}, {"error", why.message}});
        // Whoever was redirected to is not there.
        if (!opened && options_.sentinels.empty()) target_ = options_.address;
        if (clock.now() - began > kSteadyAfter) backoff = kBackoffMin;
        const auto half = static_cast<std::uint64_t>(backoff.count() / 2 + 1);
        pause_.expires_after(backoff / 2 + milliseconds(jitter_.below(half)));
        boost::system::error_code ignored;
        co_await pause_.async_wait(asio::redirect_error(asio::use_awaitable, ignored));
        backoff = std::min(backoff * 2, kBackoffMax);
    }
}

Task<Result<void>> RedisStore::Connection::open() {
    if (!options_.sentinels.empty()) {
        auto master = co_await find_master(io_, options_, link_);
        if (!master) co_return master.error();
        target_ = std::move(*master);
    }
    if (stopped_) co_return make_error(ErrorCode::kCancelled, "stopped");
    const auto connected = co_await dial(io_, target_, options_, link_);
    if (!connected) co_return connected;
    auto greeted = co_await greet();
    ready_ = greeted.ok();
    co_return greeted;
}

Task<Result<void>> RedisStore::Connection::greet() {
    std::vector<std::string> commands;
    if (!options_.password.empty() && options_.username.empty())
        commands.push_back(command_of("AUTH", options_.password));
    if (!options_.password.empty() && !options_.username.empty())
        commands.push_back(command_of("AUTH", options_.username, options_.password));
    if (options_.database != 0)
        commands.push_back(command_of("SELECT", std::to_string(options_.database)));
    commands.push_back(command_of("PING"));
    // A sentinel may not know yet that its master became a replica (sentinel-clients, step 3).
    if (!options_.sentinels.empty()) commands.push_back(command_of("ROLE"));
    auto replies = co_await link_->exchange(std::move(commands), options_.command_timeout);
    if (!replies) co_return replies.error();
    for (const Reply& reply : *replies)
        if (reply.kind == Reply::Kind::kError) co_return error_of(reply);
    const Reply& role = replies->back();
    if (!role.items.empty() && role.items.front().text != "master")
        co_return make_error(ErrorCode::kUnavailable, "is no master: " + role.items.front().text);
    co_return Result<void>();
}

Task<void> RedisStore::Connection::watch() {
    while (link_->open()) {
        co_await link_->rest(kPingGap);
        std::vector<std::string> ping;
        ping.push_back(command_of("PING"));
        auto replies = co_await link_->exchange(std::move(ping), options_.command_timeout);
        if (!replies)
            link_->close(replies.error());
        else if (replies->front().kind == Reply::Kind::kError)  // LOADING, NOAUTH, MASTERDOWN, ...
            link_->close(error_of(replies->front()));
    }
}

Task<Result<std::vector<Reply>>> RedisStore::Connection::pipeline(std::vector<std::string> commands,
                                                                  milliseconds timeout) {
    if (stopped_) co_return make_error(ErrorCode::kCancelled, "the Redis store was stopped");
    if (!up()) co_return make_error(ErrorCode::kUnavailable, "Redis is down");
    const auto self = shared_from_this();
    const auto link = link_;
    if (link->in_flight() + commands.size() > options_.pipeline_max)
        co_return make_error(ErrorCode::kExhausted, "too many Redis commands in flight (limit " +
                                                        std::to_string(options_.pipeline_max) +
                                                        ")");
    auto replies = co_await link->exchange(std::move(commands), timeout);
    if (!replies) co_return replies.error();
    for (const Reply& reply : *replies)
        if (reply.kind == Reply::Kind::kError) react(*link, reply);
    co_return std::move(replies);
}

Task<Result<Reply>> RedisStore::Connection::command(std::string bytes, milliseconds timeout) {
    std::vector<std::string> commands;
    commands.push_back(std::move(bytes));
    auto replies = co_await pipeline(std::move(commands), timeout);
    if (!replies) co_return replies.error();
    Reply& reply = replies->front();
    if (reply.kind == Reply::Kind::kError) co_return error_of(reply);
    co_return std::move(reply);
}

// Some errors say that this link leads to the wrong server, or that it must greet again.
void RedisStore::Connection::react(Link& link, const Reply& error) {
    const std::string& text = error.text;
    // MOVED <slot> <host:port>: another member of a Redis Cluster has our slot. All keys are in
    // one.
    if (text.starts_with("MOVED ")) {
        const std::string address = text.substr(text.rfind(' ') + 1);
        if (split_host_port(address)) target_ = address;
        link.close(error_of(error));
    }
    // A master became a replica: its name may lead elsewhere now. Scripts wrap the word.
    const bool read_only = text.find("READONLY ") != std::string::npos;
    if (read_only || text.starts_with("NOAUTH")) link.close(error_of(error));
}

}  // namespace hearth
