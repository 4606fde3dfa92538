// hearth-router: configuration, metadata store, server; then signals until it has drained.
#include <unistd.h>

#include <cstdio>
#include <exception>
#include <memory>

#include "common/base/log.h"
#include "common/config/supervisor.h"
#include "common/net/http_server.h"
#include "common/net/service_signals.h"
#include "common/net/takeover.h"
#include "common/net/watchdog.h"
#include "common/redis/redis_store.h"
#include "router/config.h"
#include "router/server.h"

namespace hearth {
namespace {

// How long a successor waits for a node before it serves without one.
constexpr std::chrono::seconds kTakeoverPatience{10};

// What the life of the process goes through. Owned by run().
struct Life {
    const RouterConfig& config;
    RouterServer& server;
    RedisStore* store;
    ServiceSignals& signals;
    TakeoverDoor& door;
    std::unique_ptr<Predecessor> predecessor;  // Null: nobody served before us.
};

// Tells of a start to whoever waits for it: the predecessor, the supervisor, the caller.
void announce(Life& life) {
    if (!life.config.takeover.empty()) {
        const auto taken = [&life] {
            life.server.hand_over();
            life.signals.end();
        };
        auto opened = life.door.open(life.config.takeover, life.server.listeners(), taken);
        if (!opened) log::error("nobody can take over", {{"error", opened.error().message}});
    }
    if (life.predecessor) life.predecessor->retire();
    life.predecessor.reset();
    std::printf("ready %s://%s\n", life.config.tls.cert.empty() ? "http" : "https",
                life.server.endpoint().c_str());
    std::fflush(stdout);
    tell_supervisor("READY=1\nMAINPID=" + std::to_string(::getpid()));
}

Task<void> live(Life& life) {
    if (life.predecessor) {
        const bool ready = co_await life.server.wait_ready(kTakeoverPatience);
        if (!ready) log::warn("takes over although no node is up");
        life.server.accept();
    }
    announce(life);
    co_await life.signals.wait_for_end();
    tell_supervisor("STOPPING=1");
    life.door.close();  // Its copies of the listeners would keep them open.
    co_await life.server.drain_and_stop(std::chrono::milliseconds(life.config.drain_grace_ms));
    if (life.store != nullptr) life.store->stop();
}

std::unique_ptr<RedisStore> make_store(asio::io_context& io, const RouterConfig& config) {
    if (!config.redis.used()) return nullptr;
    auto options = config.redis.options(config.cluster);
    if (!options) throw std::runtime_error(options.error().message);
    return std::make_unique<RedisStore>(io, std::move(*options));
}

// Log lines of one turn of the loop leave in one call, not one each.
struct BatchedLog {
    explicit BatchedLog(asio::io_context& io) {
        log::batch([&io] { asio::post(io, [] { log::flush(); }); });
    }
    ~BatchedLog() { log::batch(nullptr); }
};

int cannot_start(const Error& error) {
    log::error("cannot start", {{"error", error.message}});
    return 1;
}

int run(const LoadedConfig& loaded, const ConfigSource& source) {
    const RouterConfig& config = loaded.config;
    asio::io_context io(1);
    const BatchedLog batched(io);
    const std::unique_ptr<RedisStore> store = make_store(io, config);
    RouterServer server(io, config, store.get(), SystemClock::instance());
    ServiceSignals signals(io);  // From here on a signal means drain.
    server.reload_from(source, loaded);
    signals.on_hangup([&server] { server.reload(); });
    TakeoverDoor door(io);
    Life life{config, server, store.get(), signals, door, nullptr};
    std::vector<int> listeners = inherited_listeners();
    if (!config.takeover.empty()) {
        auto predecessor = Predecessor::ask(config.takeover);
        if (!predecessor) return cannot_start(predecessor.error());
        life.predecessor = std::move(*predecessor);
        if (life.predecessor) listeners = life.predecessor->listeners();
    }
    server.inherit(std::move(listeners), life.predecessor != nullptr);
    if (store) store->start();
    if (auto started = server.start(); !started.ok()) return cannot_start(started.error());
    const Watchdog watchdog(io, watchdog_limit(), [] { tell_supervisor("WATCHDOG=1"); });
    std::exception_ptr failure;
    asio::co_spawn(io, live(life), [&](std::exception_ptr thrown) {
        failure = thrown;
        io.stop();
    });
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
                     "hearth-router --config router.yaml --check",
                     "hearth-router --config router.yaml --takeover /run/hearth/router.sock"});
    config.declare(options);
    if (const int code = options.parse(argc, argv); code >= 0) return code;
    log::set_json(options.log_json());
    log::set_level(options.log_level());
    use_all_descriptors();
    try {
        const ConfigSource source = config_source(argc, argv);
        const auto loaded = source();
        if (!loaded) throw std::runtime_error(loaded.error().message);
        return run(*loaded, source);
    } catch (const std::exception& error) {
        log::error("stopped by an unexpected failure", {{"error", error.what()}});
        return 1;
    }
}
