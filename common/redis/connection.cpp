// The life of a Redis connection: connect, authenticate, pipeline, watch, cut, connect again.
#include "common/redis/connection.h"

#include <boost/asio/write.hpp>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/net/http_server.h"

namespace hearth {
namespace {

constexpr std::chrono::milliseconds kPingGap{500};
constexpr std::chrono::milliseconds kBackoffMin{50};
constexpr std::chrono::milliseconds kBackoffMax{2'000};
constexpr int kMissedMax = 3;

}  // namespace

RedisStore::Connection::Connection(asio::io_context& io, const RedisOptions& options)
    : io_(io),
      options_(options),
      socket_(io),
      pause_(io),
      jitter_(static_cast<std::uint64_t>(SystemClock::instance().now())) {}

void RedisStore::Connection::start() {
    // The coroutine holds `self`; stop() makes it end.
    auto self = shared_from_this();
    asio::co_spawn(io_, run(), [self](std::exception_ptr failed) {
        if (failed) std::rethrow_exception(failed);
    });
}

void RedisStore::Connection::stop() {
    if (stopped_) return;
    stopped_ = true;
    cut(make_error(ErrorCode::kCancelled, "the Redis store was stopped"));
    pause_.cancel();
}

Task<void> RedisStore::Connection::run() {
    const auto self = shared_from_this();
    auto backoff = kBackoffMin;
    while (!stopped_) {
        auto connected = co_await connect();
        if (stopped_) break;
        if (connected) {
            log::info("redis connected", {{"address", options_.address}});
            backoff = kBackoffMin;
            co_await watch();
        } else {
            log::debug("redis connect failed", {{"error", connected.error().message}});
            cut(connected.error());
        }
        if (stopped_) break;
        const auto half = static_cast<std::uint64_t>(backoff.count() / 2 + 1);
        pause_.expires_after(backoff / 2 + std::chrono::milliseconds(jitter_.below(half)));
        boost::system::error_code ignored;
        co_await pause_.async_wait(asio::redirect_error(asio::use_awaitable, ignored));
        backoff = std::min(backoff * 2, kBackoffMax);
    }
}

Task<Result<void>> RedisStore::Connection::connect() {
    auto place = split_host_port(options_.address);
    if (!place) co_return place.error();
    boost::system::error_code failed;
    Tcp::resolver resolver(io_);
    const auto found =
        co_await resolver.async_resolve(place->first, std::to_string(place->second),
                                        asio::redirect_error(asio::use_awaitable, failed));
    if (failed || found.empty())
        co_return make_error(ErrorCode::kUnavailable,
                             "cannot resolve " + options_.address + ": " + failed.message());
    if (stopped_) co_return make_error(ErrorCode::kCancelled, "stopped");
    socket_ = Tcp::socket(io_);
    // A connect to a host that drops packets would hang: the timer closes the socket.
    const std::uint64_t epoch = epoch_;
    const auto self = shared_from_this();
    pause_.expires_after(std::max(options_.command_timeout, std::chrono::milliseconds(250)));
    const auto on_late = [self, epoch](boost::system::error_code cancelled) {
        boost::system::error_code ignored;
        if (!cancelled && self->epoch_ == epoch && !self->connected_) self->socket_.close(ignored);
    };
    pause_.async_wait(on_late);
    co_await socket_.async_connect(found.begin()->endpoint(),
                                   asio::redirect_error(asio::use_awaitable, failed));
    pause_.cancel();
    if (failed)
        co_return make_error(ErrorCode::kUnavailable,
                             "cannot connect to " + options_.address + ": " + failed.message());
    connected_ = true;
    socket_.set_option(Tcp::no_delay(true), failed);
    reader_ = std::make_unique<ReplyReader>();
    read_some();
    if (!options_.password.empty()) {
        std::vector<std::string_view> argv = {"AUTH"};
        if (!options_.username.empty()) argv.push_back(options_.username);
        argv.push_back(options_.password);
        auto answer = co_await exchange(format_command(argv), options_.command_timeout);
        if (!answer) co_return answer.error();
    }
    if (options_.database != 0) {
        const std::string number = std::to_string(options_.database);
        auto answer = co_await exchange(command_of("SELECT", number), options_.command_timeout);
        if (!answer) co_return answer.error();
    }
    auto answer = co_await exchange(command_of("PING"), options_.command_timeout);
    if (!answer) co_return answer.error();
    up_ = true;
    co_return Result<void>();
}

Task<void> RedisStore::Connection::watch() {
    while (connected_ && !stopped_) {
        pause_.expires_after(kPingGap);
        boost::system::error_code ignored;
        co_await pause_.async_wait(asio::redirect_error(asio::use_awaitable, ignored));
        if (!connected_ || stopped_) break;
        auto answer = co_await exchange(command_of("PING"), options_.command_timeout);
        if (!answer && connected_) cut(answer.error());
    }
    if (!stopped_) log::warn("redis lost", {{"address", options_.address}});
}

Task<Result<Reply>> RedisStore::Connection::command(std::string bytes,
                                                    std::chrono::milliseconds timeout) {
    if (stopped_) co_return make_error(ErrorCode::kCancelled, "the Redis store was stopped");
    if (!up_) co_return make_error(ErrorCode::kUnavailable, "Redis is down");
    co_return co_await exchange(std::move(bytes), timeout);
}

Task<Result<Reply>> RedisStore::Connection::exchange(std::string bytes,
                                                     std::chrono::milliseconds timeout) {
    if (in_flight_.size() >= options_.pipeline_max)
        co_return make_error(ErrorCode::kExhausted, "too many Redis commands in flight (limit " +
                                                        std::to_string(options_.pipeline_max) +
                                                        ")");
    const auto self = shared_from_this();
    const auto waiter = std::make_shared<Waiter>(io_.get_executor());
    in_flight_.push_back(waiter);
    outgoing_ += bytes;
    if (writing_.empty()) write_some();
    if (!waiter->result) {
        waiter->timer.expires_after(timeout);
        boost::system::error_code ignored;
        co_await waiter->timer.async_wait(asio::redirect_error(asio::use_awaitable, ignored));
    }
    if (!waiter->result) {
        if (++missed_ >= kMissedMax) cut(make_error(ErrorCode::kTimeout, "Redis does not answer"));
        co_return make_error(ErrorCode::kTimeout, "Redis did not answer within " +
                                                      std::to_string(timeout.count()) + " ms");
    }
    missed_ = 0;
    Result<Reply> result = std::move(*waiter->result);
    if (result.ok() && result->kind == Reply::Kind::kError)
        co_return make_error(ErrorCode::kUnavailable, "Redis answered: " + result->text);
    co_return result;
}

void RedisStore::Connection::write_some() {
    writing_.swap(outgoing_);
    const auto self = shared_from_this();
    const std::uint64_t epoch = epoch_;
    asio::async_write(socket_, asio::buffer(writing_),
                      [self, epoch](boost::system::error_code failed, std::size_t) {
                          if (self->epoch_ != epoch) return;
                          self->writing_.clear();
                          if (failed)
                              self->cut(make_error(ErrorCode::kUnavailable, failed.message()));
                          else if (!self->outgoing_.empty())
                              self->write_some();
                      });
}

void RedisStore::Connection::read_some() {
    const auto self = shared_from_this();
    const std::uint64_t epoch = epoch_;
    socket_.async_read_some(
        asio::buffer(incoming_), [self, epoch](boost::system::error_code failed, std::size_t size) {
            if (self->epoch_ != epoch) return;
            if (failed) return self->cut(make_error(ErrorCode::kUnavailable, failed.message()));
            self->reader_->feed({self->incoming_.data(), size});
            while (true) {
                auto reply = self->reader_->next();
                if (!reply) return self->cut(reply.error());
                if (!reply->has_value()) break;
                if (self->in_flight_.empty())
                    return self->cut(make_error(ErrorCode::kCorrupt, "an answer nobody asked for"));
                const auto waiter = self->in_flight_.front();
                self->in_flight_.pop_front();
                waiter->result = std::move(**reply);
                waiter->timer.cancel();
            }
            self->read_some();
        });
}

void RedisStore::Connection::cut(const Error& why) {
    ++epoch_;
    connected_ = up_ = false;
    missed_ = 0;
    outgoing_.clear();
    writing_.clear();
    boost::system::error_code ignored;
    socket_.close(ignored);
    auto failed = std::move(in_flight_);
    in_flight_.clear();
    for (const auto& waiter : failed) {
        waiter->result = why;
        waiter->timer.cancel();
    }
    pause_.cancel();  // The watcher need not wait for its next PING.
}

}  // namespace hearth
