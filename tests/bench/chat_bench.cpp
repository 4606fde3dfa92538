// chat_bench: N sessions of T turns against one node in this process, beside other servers that get
// the same conversations in turn. Time to the first token by turn, and tokens/s of all sessions.
#include <boost/json.hpp>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "cachenode/server.h"
#include "cli/model_store.h"
#include "cli/run_task.h"
#include "common/base/log.h"
#include "common/redis/memory_store.h"
#include "tests/bench/chat/chat_server.h"

namespace hearth::bench {
namespace {

namespace json = boost::json;

constexpr const char* kUsage =
    "usage: hearth bench chat [--json] [--model NAME|PATH] [--threads N] [--weights int8|int4]\n"
    "    [--sessions N] [--turns T] [--reply-tokens N] [--kv-memory MIB] [--rounds N]\n"
    "    [--seed N] [--peer-url URL]...\n"
    "Starts one node and holds N conversations of T turns with it at once, over HTTP. Servers at\n"
    "--peer-url (llama-server, another Hearth) are given the same conversations, round by round "
    "in\n"
    "turn with the node; they must be there already. Replies have N tokens whatever they say.\n";

struct Arguments {
    bool json = false;
    NodeConfig node;
    std::string model = "smollm2";
    std::int64_t sessions = 16, turns = 8, reply_tokens = 32, rounds = 1;
    std::int64_t seed = std::random_device()();  // Of the texts: no server has heard them before.
    std::vector<std::string> peers;
};

int fail(const std::string& message, int exit_code = 1) {
    std::fprintf(stderr, "hearth bench chat: %s\n", message.c_str());
    return exit_code;
}

// A node as `hearth up` makes it, on a thread of its own.
class LocalNode {
  public:
    Result<void> start(const Arguments& args) {
        auto path = cli::obtain_model(args.model);
        if (!path) return path.error();
        NodeConfig config = args.node;
        config.node_id = "node-1";
        config.listen = "127.0.0.1:0";
        config.model_path = *path;
        config.served_model_name = cli::served_name(args.model);
        auto checkpoint = engine::load_checkpoint(*path);
        if (!checkpoint) return checkpoint.error();
        auto node =
            NodeServer::make(io_, config, std::move(*checkpoint), &store_, SystemClock::instance());
        if (!node) return node.error();
        node_ = std::move(*node);
        if (auto started = node_->start(); !started) return started;
        thread_ = std::jthread([this] { io_.run(); });
        return {};
    }
    ~LocalNode() {
        if (!thread_.joinable()) return;
        io_.stop();
        thread_.join();
        const auto stop = [](NodeServer& node) -> Task<int> {
            co_await node.drain_and_stop(std::chrono::seconds(1));
            co_return 0;
        };
        cli::run_task(io_, stop(*node_));
    }
    std::string endpoint() const { return node_->endpoint(); }

  private:
    asio::io_context io_;
    MemoryStore store_{SystemClock::instance()};
    std::unique_ptr<NodeServer> node_;
    std::jthread thread_;
};

// False: the flag is unknown, or its value is no number above 0 where one is due.
bool set(Arguments& args, const std::string& name, const std::string& value) {
    const long long number = std::atoll(value.c_str());
    std::int64_t* const field = name == "--threads"        ? &args.node.threads
                                : name == "--sessions"     ? &args.sessions
                                : name == "--turns"        ? &args.turns
                                : name == "--reply-tokens" ? &args.reply_tokens
                                : name == "--kv-memory"    ? &args.node.kv_memory
                                : name == "--rounds"       ? &args.rounds
                                : name == "--seed"         ? &args.seed
                                                           : nullptr;
    if (field != nullptr) {
        *field = name == "--kv-memory" ? number << 20 : number;
        return number > 0;
    }
    if (name == "--model") {
        args.model = value;
    } else if (name == "--weights") {
        args.node.weights = value;
    } else if (name == "--peer-url") {
        args.peers.push_back(value);
    } else {
        return false;
    }
    return true;
}

std::optional<Arguments> parse(int argc, char** argv) {
    Arguments args;
    args.node.threads = 1;
    for (int i = 1; i < argc; ++i) {
        const std::string name = argv[i];
        if (name == "--json") {
            args.json = true;
        } else if (++i >= argc || !set(args, name, argv[i])) {
            return std::nullopt;
        }
    }
    return args;
}

json::object json_of(const ChatServer& server) {
    const ChatFigures f = figures_of(server.done());
    json::object by_turn;
    for (const auto& [turn, ms] : f.ttft_ms) by_turn[std::to_string(turn)] = ms;
    return {{"server", server.host_port()},
            {"ttft_ms", std::move(by_turn)},
            {"ttft_ms_turns_from_2", f.ttft_ms_follow_ups},
            {"ttft_ms_turns_from_2_p95", f.ttft_ms_follow_ups_p95},
            {"tokens_per_s", f.tokens_per_s},
            {"cached_share", f.cached_share},
            {"errors", f.errors}};
}

using Servers = std::vector<std::unique_ptr<ChatServer>>;  // The node, then the peers.

void print_json(const Arguments& args, const Servers& servers) {
    json::array peers;
    for (std::size_t i = 1; i < servers.size(); ++i) peers.push_back(json_of(*servers[i]));
    const json::object out = {{"model", args.model},
                              {"threads", args.node.threads},
                              {"weights", args.node.weights},
                              {"sessions", args.sessions},
                              {"turns", args.turns},
                              {"reply_tokens", args.reply_tokens},
                              {"rounds", args.rounds},
                              {"seed", args.seed},
                              {"node", json_of(*servers.front())},
                              {"peers", std::move(peers)}};
    std::printf("%s\n", json::serialize(out).c_str());
}

void print_text(const Arguments& args, const Servers& servers) {
    std::vector<ChatFigures> all;
    for (const auto& server : servers) all.push_back(figures_of(server->done()));
    const auto row = [&](const char* what, const char* format, const auto& value) {
        std::printf("%-26s", what);
        for (const ChatFigures& f : all) std::printf(format, value(f));
        std::printf("\n");
    };
    std::printf(
        "model %s, %s weights, %lld thread(s); %lld sessions of %lld turns, %lld tokens a\n",
        args.model.c_str(), args.node.weights.c_str(), static_cast<long long>(args.node.threads),
        static_cast<long long>(args.sessions), static_cast<long long>(args.turns),
        static_cast<long long>(args.reply_tokens));
    std::printf("reply, %lld round(s), seed %lld\n\n%-26s", static_cast<long long>(args.rounds),
                static_cast<long long>(args.seed), "");
    for (std::size_t i = 0; i < servers.size(); ++i)
        std::printf("  %16s", i == 0 ? "node" : servers[i]->host_port().c_str());
    std::printf("\n");
    for (std::int64_t turn = 1; turn <= args.turns; ++turn) {
        const std::string what = "TTFT ms, turn " + std::to_string(turn);
        row(what.c_str(), "  %16.1f", [turn](const ChatFigures& f) {
            const auto found = f.ttft_ms.find(turn);
            return found == f.ttft_ms.end() ? 0.0 : found->second;
        });
    }
    row("TTFT ms, turns >= 2", "  %16.1f", [](const auto& f) { return f.ttft_ms_follow_ups; });
    row("  95th percentile", "  %16.1f", [](const auto& f) { return f.ttft_ms_follow_ups_p95; });
    row("tokens/s of all sessions", "  %16.1f", [](const auto& f) { return f.tokens_per_s; });
    row("prompt tokens cached, %", "  %16.1f", [](const auto& f) { return 100 * f.cached_share; });
    row("failed turns", "  %16.0f", [](const auto& f) { return static_cast<double>(f.errors); });
    const ChatFigures& node = all.front();
    if (servers.size() > 1) std::printf("\n");
    row("its TTFT / the node's", "  %16.2f",
        [&](const ChatFigures& f) { return times(f.ttft_ms_follow_ups, node.ttft_ms_follow_ups); });
    row("the node's tokens/s / its", "  %16.2f",
        [&](const ChatFigures& f) { return times(node.tokens_per_s, f.tokens_per_s); });
}

int run(const Arguments& args) {
    log::set_program("hearth-bench");
    log::set_level("warn");
    LocalNode node;
    if (auto started = node.start(args); !started) return fail(started.error().message);
    asio::io_context io;
    Servers servers;
    std::vector<std::string> urls = {node.endpoint()};
    urls.insert(urls.end(), args.peers.begin(), args.peers.end());
    for (const std::string& text : urls) {
        auto url = cli::server_url(text, "");
        if (!url) return fail("--peer-url: " + url.error().message, 2);
        servers.push_back(std::make_unique<ChatServer>(io, std::move(*url), args.reply_tokens));
        if (auto connected = servers.back()->connect(); !connected)
            return fail(connected.error().message);
    }
    for (std::int64_t round = 0; round < args.rounds; ++round) {
        const auto chats = make_conversations(args.sessions, args.turns,
                                              static_cast<std::uint64_t>(args.seed + round));
        for (const auto& server : servers) server->run(chats);
    }
    (args.json ? print_json : print_text)(args, servers);
    std::int64_t errors = 0;
    for (const auto& server : servers) {
        for (const ChatTurn& turn : server->done().turns) {
            if (turn.result.error.empty()) continue;
            if (++errors <= 5) fail(server->host_port() + ": " + turn.result.error);
        }
    }
    return errors == 0 ? 0 : 1;
}

}  // namespace
}  // namespace hearth::bench

int main(int argc, char** argv) {
    const auto args = hearth::bench::parse(argc, argv);
    if (args) return hearth::bench::run(*args);
    std::fputs(hearth::bench::kUsage, stderr);
    return 2;
}
