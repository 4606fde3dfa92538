// hearth up: a router and N nodes in one process with in-memory metadata; no Redis, no config file.
#include <algorithm>
#include <cstdio>
#include <memory>
#include <random>
#include <vector>

#include "cachenode/server.h"
#include "cli/commands.h"
#include "cli/model_store.h"
#include "cli/run_task.h"
#include "common/base/log.h"
#include "common/base/machine.h"
#include "common/net/http_client.h"
#include "common/redis/memory_store.h"
#include "router/server.h"

namespace hearth::cli {
namespace {

constexpr const char* kAdminDefault = "127.0.0.1:8081";

struct UpFlags {
    std::int64_t nodes = 3;
    std::string listen = "127.0.0.1:8080";
    std::string admin_listen;  // Empty = 8081 on loopback, or any free port when that is taken.
    std::string model = "smollm2";
    std::int64_t kv_memory_mib = 512;
    std::int64_t threads = 0;
    std::string log_level = "warn";
};

// `exit_code`: 1 what went wrong, 2 what was asked for in a wrong way.
int failed(const Error& error, int exit_code = 1) {
    std::fprintf(stderr, "hearth up: %s\n", error.message.c_str());
    return exit_code;
}

// The KV lives no longer than this process, so its session keys need not either.
std::string fresh_secret() {
    std::random_device entropy;
    std::string secret;
    for (int i = 0; i < 8; ++i) secret += std::to_string(entropy());
    return secret;
}

// Listens at once, so that a port that is taken shows before a model is loaded.
Result<std::unique_ptr<RouterServer>> start_router(asio::io_context& io, const UpFlags& flags,
                                                   MetadataStore& store) {
    RouterConfig config;
    config.listen = flags.listen;
    config.admin_listen = flags.admin_listen.empty() ? kAdminDefault : flags.admin_listen;
    config.session_secret = fresh_secret();
    // The nodes share this process' cores: a session that leaves a busy one gains nothing.
    config.spill_margin_ms = 3'600'000;
    const SystemClock& clock = SystemClock::instance();
    auto router = std::make_unique<RouterServer>(io, config, &store, clock);
    auto started = router->start();
    if (!started && flags.admin_listen.empty()) {
        // A second `hearth up` on one machine must not fail for a port that nobody asked for.
        config.admin_listen = "127.0.0.1:0";
        router = std::make_unique<RouterServer>(io, config, &store, clock);
        started = router->start();
    }
    if (started) return router;
    const std::string& what = started.error().message;
    const bool is_admin = !flags.admin_listen.empty() && flags.admin_listen != flags.listen &&
                          what.find(flags.admin_listen) != std::string::npos;
    return make_error(started.error().code, what + "; choose another address with " +
                                                (is_admin ? "--admin-listen" : "--listen") +
                                                " (port 0: any free one)");
}

// A router without a live node would refuse the first request of whoever reads the ready line.
Task<bool> wait_ready(asio::io_context& io, const RouterServer& router) {
    HttpClient client(io);
    asio::steady_timer pause(io);
    constexpr int kTries = 500;
    for (int i = 0; i < kTries; ++i) {
        auto answer = co_await client.call(router.endpoint(), "GET", "/ready", {}, {},
                                           std::chrono::milliseconds(1'000));
        if (answer && answer->status == 200) co_return true;
        pause.expires_after(std::chrono::milliseconds(20));
        co_await pause.async_wait(asio::use_awaitable);
    }
    co_return false;
}

// Says that it serves, waits for a signal, then ends router and nodes in the order that loses no
// chat.
Task<int> serve(asio::io_context& io, RouterServer& router,
                std::vector<std::unique_ptr<NodeServer>>& nodes) {
    const std::chrono::seconds grace(10);
    asio::signal_set signals(io, SIGINT, SIGTERM);
    if (!co_await wait_ready(io, router)) {
        std::fprintf(stderr, "hearth up: the router saw no live node within 10 s\n");
        co_return 1;
    }
    std::fprintf(stderr,
                 "admin  http://%s/   (the console)\n"
                 "try    hearth chat --router %s   and   hearth status --admin %s\n",
                 router.admin_endpoint().c_str(), router.endpoint().c_str(),
                 router.admin_endpoint().c_str());
    std::printf("ready http://%s\n", router.endpoint().c_str());
    std::fflush(stdout);
    co_await signals.async_wait(asio::use_awaitable);
    // A second signal ends the process at once, by its default action.
    signals.clear();
    co_await router.drain_and_stop(grace);
    for (auto& node : nodes) co_await node->drain_and_stop(grace);
    co_return 0;
}

int up(const UpFlags& flags) {
    log::set_program("hearth-up");
    if (!log::set_level(flags.log_level)) {
        std::fprintf(stderr, "hearth up: --log-level: unknown level '%s'\n",
                     flags.log_level.c_str());
        return 2;
    }
    for (const std::string* place : {&flags.listen, &flags.admin_listen})
        if (const auto parts = split_host_port(*place); !place->empty() && !parts) {
            const char* flag = place == &flags.listen ? "--listen: " : "--admin-listen: ";
            return failed(make_error(parts.error().code, flag + parts.error().message), 2);
        }
    const SystemClock& clock = SystemClock::instance();
    asio::io_context io;
    MemoryStore store(clock);
    auto router = start_router(io, flags, store);
    if (!router) return failed(router.error());
    auto path = obtain_model(flags.model);
    if (!path) return failed(path.error(), path.error().code == ErrorCode::kNotFound ? 2 : 1);
    std::vector<std::unique_ptr<NodeServer>> nodes;
    for (std::int64_t n = 1; n <= flags.nodes; ++n) {
        NodeConfig config;
        config.node_id = "node-" + std::to_string(n);
        config.listen = "127.0.0.1:0";
        config.model_path = *path;
        config.served_model_name = served_name(flags.model);
        config.kv_memory = flags.kv_memory_mib << 20;
        config.threads = flags.threads > 0
                             ? flags.threads
                             : std::max<std::int64_t>(1, read_machine().threads() / flags.nodes);
        config.cpus = "any";  // They and the router share one machine.
        auto checkpoint = engine::load_checkpoint(*path);
        if (!checkpoint) return failed(checkpoint.error());
        auto node = NodeServer::make(io, config, std::move(*checkpoint), &store, clock);
        if (!node) return failed(node.error());
        if (auto started = (*node)->start(); !started) return failed(started.error());
        nodes.push_back(std::move(*node));
    }
    return run_task(io, serve(io, **router, nodes));
}

}  // namespace

void add_up(CLI::App& app, int& exit_code) {
    auto flags = std::make_shared<UpFlags>();
    CLI::App* sub = app.add_subcommand("up", "A router and N nodes in one process");
    sub->add_option("--nodes", flags->nodes, "Cache nodes")
        ->capture_default_str()
        ->check(CLI::Range(1, 64));
    sub->add_option("--listen", flags->listen, "Address of the router; port 0 = any free one")
        ->capture_default_str();
    sub->add_option("--admin-listen", flags->admin_listen,
                    "Admin listener; default 127.0.0.1:8081, or any free port when that is taken");
    sub->add_option("--model", flags->model, "tiny, smollm2, or a path")->capture_default_str();
    sub->add_option("--kv-memory-mib", flags->kv_memory_mib, "KV pages of each node, MiB")
        ->capture_default_str()
        ->check(CLI::Range(1, 1 << 20));
    sub->add_option("--threads", flags->threads,
                    "Engine threads of each node; 0 = its share of the cores")
        ->capture_default_str()
        ->check(CLI::Range(0, 1024));
    sub->add_option("--log-level", flags->log_level, "debug, info, warn, error")
        ->capture_default_str();
    sub->footer(
        "Prints one line `ready http://ADDR:PORT` on stdout when it serves, and on stderr where\n"
        "its admin listener is. Ctrl-C drains. Session keys are hashed with a secret that is made\n"
        "anew at each start, so no session outlives the process.\n"
        "Example:\n  hearth up --nodes 3 --listen 127.0.0.1:8080 --model smollm2");
    sub->callback([flags, &exit_code] { exit_code = up(*flags); });
}

}  // namespace hearth::cli
