// hearth-cachenode: configuration, model, server; then signals until the node has drained.
#include <condition_variable>
#include <cstdio>
#include <exception>
#include <memory>
#include <mutex>
#include <thread>

#include "cachenode/config.h"
#include "cachenode/server.h"
#include "common/base/log.h"
#include "common/config/supervisor.h"
#include "common/net/http_server.h"
#include "common/net/service_signals.h"
#include "common/net/watchdog.h"
#include "common/redis/redis_store.h"

namespace hearth {
namespace {

// Says every two seconds that the model still loads: a big one takes a while and looks hung.
class LoadNotice {
  public:
    LoadNotice(std::string path, const Clock& clock)
        : path_(std::move(path)),
          clock_(clock),
          started_(clock.now()),
          thread_([this] { run(); }) {}
    ~LoadNotice() {
        {
            const std::lock_guard lock(mutex_);
            done_ = true;
        }
        changed_.notify_one();
        thread_.join();
    }

  private:
    void run() {
        std::unique_lock lock(mutex_);
        while (!changed_.wait_for(lock, std::chrono::seconds(2), [this] { return done_; }))
            log::info("loading model",
                      {{"path", path_}, {"seconds", seconds(clock_.now() - started_)}});
    }

    const std::string path_;
    const Clock& clock_;
    const MonotonicNs started_;
    std::mutex mutex_;
    std::condition_variable changed_;
    bool done_ = false;
    std::thread thread_;  // Last: it uses all the above.
};

Task<void> serve_until_signal(ServiceSignals& signals, NodeServer& server, RedisStore* store,
                              std::chrono::milliseconds grace) {
    co_await signals.wait_for_end();
    tell_supervisor("STOPPING=1");
    co_await server.drain_and_stop(grace);
    if (store != nullptr) store->stop();
}

// `exit_code`: 2 for settings that are the operator's to mend, 1 for what went wrong.
int failed(const Error& error, int exit_code = 1) {
    log::error("cannot start", {{"error", error.message}});
    return exit_code;
}

std::unique_ptr<RedisStore> make_store(asio::io_context& io, const NodeConfig& config) {
    if (!config.redis.used()) return nullptr;
    auto options = config.redis.options(config.cluster);
    if (!options) throw std::runtime_error(options.error().message);
    // Only turns of sessions that this node does not hold ask, and a missed hint costs a whole
    // prefill: more patience than a router has.
    options->lookup_timeout = std::chrono::milliseconds(20);
    return std::make_unique<RedisStore>(io, std::move(*options));
}

Result<engine::Checkpoint> load(const std::string& path, const Clock& clock) {
    const LoadNotice notice(path, clock);
    return engine::load_checkpoint(path);
}

void reload(NodeServer& server) {
    if (auto done = server.reload_tls(); !done)
        log::error("reload failed; the old certificates stand", {{"error", done.error().message}});
}

int run(const NodeConfig& config) {
    use_all_descriptors();
    const SystemClock& clock = SystemClock::instance();
    asio::io_context io(1);
    const std::unique_ptr<RedisStore> store = make_store(io, config);
    auto checkpoint = load(config.model_path, clock);
    if (!checkpoint.ok()) return failed(checkpoint.error());
    auto server = NodeServer::make(io, config, std::move(*checkpoint), store.get(), clock);
    if (!server.ok()) {
        // Such as memory that does not hold two pages of this model.
        const bool by_settings = server.error().code == ErrorCode::kInvalidArgument;
        return failed(server.error(), by_settings ? 2 : 1);
    }
    ServiceSignals signals(io);  // From here on a signal means drain.
    signals.on_hangup([&server] { reload(**server); });
    signals.on_drain([&server] { (*server)->begin_drain(); });
    if (store) store->start();
    if (auto started = (*server)->start(); !started.ok()) return failed(started.error());
    std::exception_ptr failure;
    const std::chrono::milliseconds grace(config.drain_grace_ms);
    asio::co_spawn(io, serve_until_signal(signals, **server, store.get(), grace),
                   [&](std::exception_ptr thrown) {
                       failure = thrown;
                       io.stop();
                   });
    std::printf("ready %s://%s\n", config.tls.cert.empty() ? "http" : "https",
                (*server)->endpoint().c_str());
    std::fflush(stdout);
    tell_supervisor("READY=1");
    const Watchdog watchdog(io, watchdog_limit(), [] { tell_supervisor("WATCHDOG=1"); });
    io.run();
    if (failure) std::rethrow_exception(failure);
    return 0;
}

}  // namespace
}  // namespace hearth

int main(int argc, char** argv) {
    using namespace hearth;
    log::set_program("hearth-cachenode");
    NodeConfig config;
    Options options("hearth-cachenode",
                    "One cache node: an OpenAI-compatible server that keeps KV.",
                    {"hearth-cachenode --model-path model.gguf --listen 127.0.0.1:8101",
                     "hearth-cachenode --config node.yaml --redis 127.0.0.1:6379"});
    config.declare(options);
    if (const int code = options.parse(argc, argv); code >= 0) return code;
    log::set_json(options.log_json());
    log::set_level(options.log_level());
    try {
        return run(config);
    } catch (const std::exception& error) {
        log::error("stopped by an unexpected failure", {{"error", error.what()}});
        return 1;
    }
}
