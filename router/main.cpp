// hearth-router: configuration, metadata store, server; then signals until it has drained.
#include <cstdio>
#include <exception>
#include <memory>

#include "common/base/log.h"
#include "common/net/http_server.h"
#include "common/redis/redis_store.h"
#include "router/config.h"
#include "router/server.h"

namespace hearth {
namespace {

Task<void> serve_until_signal(asio::signal_set& signals, RouterServer& server, RedisStore* store,
                              std::chrono::milliseconds grace) {
    co_await signals.async_wait(asio::use_awaitable);
    signals.clear();  // A second signal ends the process at once, by its default action.
    co_await server.drain_and_stop(grace);
    if (store != nullptr) store->stop();
}

std::unique_ptr<RedisStore> make_store(asio::io_context& io, const RouterConfig& config) {
    if (config.redis.empty()) return nullptr;
    RedisOptions options;
    options.address = config.redis;
    options.password = config.redis_password;
    options.cluster = config.cluster;
    return std::make_unique<RedisStore>(io, options);
}

// Log lines of one turn of the loop leave in one call, not one each.
struct BatchedLog {
    explicit BatchedLog(asio::io_context& io) {
        log::batch([&io] { asio::post(io, [] { log::flush(); }); });
    }
    ~BatchedLog() { log::batch(nullptr); }
};

int run(const RouterConfig& config) {
    asio::io_context io(1);
    const BatchedLog batched(io);
    const std::unique_ptr<RedisStore> store = make_store(io, config);
    RouterServer server(io, config, store.get(), SystemClock::instance());
    asio::signal_set signals(io, SIGINT, SIGTERM);  // From here on a signal means drain.
    if (store) store->start();
    if (auto started = server.start(); !started.ok()) {
        log::error("cannot start", {{"error", started.error().message}});
        return 1;
    }
    std::exception_ptr failure;
    const std::chrono::milliseconds grace(config.drain_grace_ms);
    asio::co_spawn(io, serve_until_signal(signals, server, store.get(), grace),
                   [&](std::exception_ptr thrown) {
                       failure = thrown;
                       io.stop();
                   });
    std::printf("ready http://%s\n", server.endpoint().c_str());
    std::fflush(stdout);
    io.run();
    if (failure) std::rethrow_exception(failure);
    return 0;
}

}  // namespace
}  // namespace hearth

int main(int argc, char** argv) {
    using namespace hearth;
    log::set_program("hearth-router");
    RouterConfig config;
    Options options("hearth-router",
                    "Brings every turn of a chat to the node that holds its KV, and streams back.",
                    {"hearth-router --listen 0.0.0.0:8080 --redis 127.0.0.1:6379",
                     "hearth-router --config router.yaml --check"});
    config.declare(options);
    if (const int code = options.parse(argc, argv); code >= 0) return code;
    log::set_json(options.log_json());
    log::set_level(options.log_level());
    use_all_descriptors();
    try {
        return run(config);
    } catch (const std::exception& error) {
        log::error("stopped by an unexpected failure", {{"error", error.what()}});
        return 1;
    }
}
