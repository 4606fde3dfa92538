// hearth replay: sends the user turns of a file of chats through a router and prints what each met.
#include "cli/replay.h"

#include <cinttypes>
#include <cstdio>
#include <exception>
#include <memory>

#include "cli/commands.h"
#include "cli/run_task.h"
#include "cli/server_url.h"
#include "common/net/asio.h"

namespace hearth::cli {
namespace {

// "97.31%", or "-" when there was nothing of which it could be a share.
std::string percent(const std::optional<double>& share) {
    if (!share) return "-";
    char text[32];
    std::snprintf(text, sizeof text, "%.2f%%", 100 * *share);
    return text;
}

std::string json_number(const std::optional<double>& number) {
    if (!number) return "null";
    char text[32];
    std::snprintf(text, sizeof text, "%.4f", *number);
    return text;
}

// A server and how to reach it.
struct Place {
    Place(asio::io_context& io, ServerUrl at) : url(std::move(at)), client(io, url.client) {}
    const ServerUrl url;
    HttpClient client;
};

// One replay on one io_context: `concurrency` workers take the chat that is least far along.
class Replay {
  public:
    Replay(Place& router, std::vector<std::unique_ptr<Place>> nodes, const ReplayOptions& options,
           std::vector<Chat> chats)
        : router_(router),
          nodes_(std::move(nodes)),
          options_(options),
          chats_(std::move(chats)),
          states_(chats_.size()) {
        for (std::size_t i = 0; i < chats_.size(); ++i)
            if (!chats_[i].system.empty())
                states_[i].dialogue.push_back({"system", chats_[i].system});
    }

    Task<int> run() {
        if (options_.model.empty()) {
            auto models = co_await list_models(router_.client, router_.url.host_port);
            if (!models || models->empty()) {
                std::fprintf(stderr, "hearth replay: %s\n",
                             models ? "the router lists no model" : models.error().message.c_str());
                co_return 1;
            }
            options_.model = models->front();
        }
        auto before = co_await counters();
        if (!before) {
            std::fprintf(stderr, "hearth replay: %s\n", before.error().message.c_str());
            co_return 1;
        }
        print_header();
        co_await all_workers();
        auto after = co_await counters();
        if (!after) {
            std::fprintf(stderr, "hearth replay: %s\n", after.error().message.c_str());
            co_return 1;
        }
        const NodeCounters counted = difference(*after, *before);
        const ReplaySummary summary = summarize(chats_, turns_, counted);
        print_summary(summary, counted);
        const std::vector<std::string> unmet = unmet_expectations(options_, summary);
        for (const std::string& line : unmet)
            std::fprintf(stderr, "hearth replay: failed: %s\n", line.c_str());
        co_return summary.errors == 0 && unmet.empty() ? 0 : 1;
    }

  private:
    struct ChatState {
        std::vector<Message> dialogue;
        std::size_t done = 0;
        bool busy = false;
    };

    // Workers run as coroutines of one thread; the last one to end wakes run().
    Task<void> all_workers() {
        auto executor = co_await asio::this_coro::executor;
        asio::steady_timer all_done(executor, asio::steady_timer::time_point::max());
        std::int64_t left = options_.concurrency;
        const auto on_end = [&left, &all_done](std::exception_ptr failed) {
            if (failed) std::rethrow_exception(failed);
            if (--left == 0) all_done.cancel();
        };
        for (std::int64_t i = 0; i < options_.concurrency; ++i)
            asio::co_spawn(executor, worker(), on_end);
        boost::system::error_code woken;
        if (left > 0)
            co_await all_done.async_wait(asio::redirect_error(asio::use_awaitable, woken));
    }

    // Round robin: every chat's turn 1, then every chat's turn 2, as a product's traffic would mix.
    std::size_t next_chat() const {
        std::size_t best = chats_.size();
        for (std::size_t i = 0; i < chats_.size(); ++i) {
            if (states_[i].busy || states_[i].done >= chats_[i].user_turns.size()) continue;
            if (best == chats_.size() || states_[i].done < states_[best].done) best = i;
        }
        return best;
    }

    Task<void> worker() {
        for (std::size_t i = next_chat(); i < chats_.size(); i = next_chat()) {
            ChatState& state = states_[i];
            state.busy = true;
            state.dialogue.push_back({"user", chats_[i].user_turns[state.done]});
            TurnSettings settings;
            settings.router = router_.url.host_port;
            settings.model = options_.model;
            if (options_.session_header) settings.session = chats_[i].id;
            settings.max_tokens = options_.max_tokens;
            settings.temperature = options_.temperature;
            settings.seed = options_.seed;
            ReplayTurn turn;
            turn.chat = i;
            turn.result =
                co_await run_turn(router_.client, clock_, settings, state.dialogue, nullptr);
            turn.turn = static_cast<std::int64_t>(++state.done);
            state.dialogue.push_back({"assistant", turn.result.text});
            state.busy = false;
            print_turn(turn);
            turns_.push_back(std::move(turn));
        }
    }

    Task<Result<NodeCounters>> counters() {
        std::vector<std::string> texts;
        for (const auto& node : nodes_) {
            auto answer = co_await node->client.call(node->url.host_port, "GET", "/metrics", {}, {},
                                                     std::chrono::milliseconds(5'000));
            if (!answer) co_return answer.error();
            texts.push_back(std::move(answer->body));
        }
        co_return read_counters(texts);
    }

    void print_header() const {
        if (!options_.quiet)
            std::printf("%-22s %4s  %-10s %-6s %7s %7s %9s %8s\n", "session", "turn", "node", "why",
                        "prompt", "cached", "ttft ms", "reply");
    }

    void print_turn(const ReplayTurn& turn) const {
        const TurnResult& r = turn.result;
        const char* id = chats_[turn.chat].id.c_str();
        if (!r.error.empty()) {
            std::printf("%-22.22s %4" PRId64 "  error: %s\n", id, turn.turn, r.error.c_str());
        } else if (!options_.quiet) {
            std::printf("%-22.22s %4" PRId64 "  %-10s %-6s %7" PRId64 " %7" PRId64
                        " %9.1f %8" PRId64 "\n",
                        id, turn.turn, r.node.c_str(), r.reason.c_str(), r.prompt_tokens,
                        r.cached_tokens, r.ttft_ms, r.completion_tokens);
        }
        std::fflush(stdout);
    }

    void print_summary(const ReplaySummary& s, const NodeCounters& counted) const {
        std::printf("\n%-44s %8s %9s\n", "hit rate", "achieved", "ceiling");
        using Share = std::optional<double>;
        const auto row = [](const char* name, const Share& achieved, const Share& ceiling) {
            std::printf("%-44s %8s %9s\n", name, percent(achieved).c_str(),
                        percent(ceiling).c_str());
        };
        row("inter-turn (reused / reusable tokens)", s.inter_turn_hit_rate, s.inter_turn_ceiling);
        row("tokens (cached / prompt tokens)", s.token_hit_rate, s.token_ceiling);
        row("turns (full hits / follow-up turns)", s.full_hit_rate, s.full_hit_ceiling);
        if (counted.reusable > 0) {
            bool any = false;
            for (const auto& [reason, tokens] : counted.missed)
                if (tokens > 0) {
                    std::printf("  missed, %s: %.0f tokens\n", reason.c_str(), tokens);
                    any = true;
                }
            if (!any) std::printf("  no reusable token was missed\n");
        }
        if (s.ttft_ms_turn_2 > 0 && s.ttft_ms_turn_6_on > 0)
            std::printf("TTFT median: turn 2 %.1f ms, turns 6 and on %.1f ms (%.2f times)\n",
                        s.ttft_ms_turn_2, s.ttft_ms_turn_6_on,
                        s.ttft_ms_turn_6_on / s.ttft_ms_turn_2);
        if (!options_.json) return;
        std::printf("{\"sessions\":%" PRId64 ",\"turns\":%" PRId64
                    ",\"inter_turn_hit_rate\":%s,\"ceiling\":%s,\"moved_sessions\":%" PRId64
                    ",\"errors\":%" PRId64 "}\n",
                    s.sessions, s.turns, json_number(s.inter_turn_hit_rate).c_str(),
                    json_number(s.inter_turn_ceiling).c_str(), s.moved_sessions, s.errors);
    }

    const SystemClock& clock_ = SystemClock::instance();
    Place& router_;
    const std::vector<std::unique_ptr<Place>> nodes_;
    ReplayOptions options_;
    std::vector<Chat> chats_;
    std::vector<ChatState> states_;
    std::vector<ReplayTurn> turns_;
};

// Null, and a line on stderr: `text` is no host:port or URL.
std::unique_ptr<Place> place(asio::io_context& io, const char* flag, const std::string& text,
                             const std::string& cacert) {
    auto url = server_url(text, cacert);
    if (url) return std::make_unique<Place>(io, std::move(*url));
    std::fprintf(stderr, "hearth replay: %s: %s\n", flag, url.error().message.c_str());
    return nullptr;
}

int replay(const ReplayOptions& options, const std::string& chats_path, std::int64_t chats_max,
           std::int64_t turns_max) {
    auto chats = read_chats(chats_path, chats_max, turns_max);
    if (!chats) {
        std::fprintf(stderr, "hearth replay: %s\n", chats.error().message.c_str());
        return 2;
    }
    asio::io_context io;
    auto router = place(io, "--router", options.router, options.cacert);
    if (!router) return 2;
    std::vector<std::unique_ptr<Place>> nodes;
    for (const std::string& node : options.nodes) {
        nodes.push_back(place(io, "--node", node, options.cacert));
        if (!nodes.back()) return 2;
    }
    Replay run(*router, std::move(nodes), options, std::move(*chats));
    return run_task(io, run.run());
}

}  // namespace

void add_replay(CLI::App& app, int& exit_code) {
    struct Flags {
        ReplayOptions options;
        std::string chats;
        std::int64_t chats_max = 1'000'000, turns_max = 1'000;
        bool no_session = false;
    };
    auto flags = std::make_shared<Flags>();
    CLI::App* sub = app.add_subcommand("replay", "Replay a file of chats through a router");
    sub->add_option("--router", flags->options.router, "Router, host:port or URL")
        ->capture_default_str();
    sub->add_option("--node", flags->options.nodes,
                    "A node whose counters are read, host:port or URL; repeat for each");
    sub->add_option("--cacert", flags->options.cacert,
                    "PEM file of whom to trust for https; default: the system's");
    sub->add_option("--chats", flags->chats,
                    "JSON lines: {\"id\":…,\"turns\":[{\"role\",\"text\"},…]}")
        ->required();
    sub->add_option("--chat-limit", flags->chats_max, "Only the first N chats")
        ->check(CLI::PositiveNumber);
    sub->add_option("--turn-limit", flags->turns_max, "At most N user turns of each chat")
        ->check(CLI::PositiveNumber);
    sub->add_option("--model", flags->options.model, "Model name; default: the first one listed");
    sub->add_option("--max-tokens", flags->options.max_tokens, "Longest reply, in tokens")
        ->capture_default_str()
        ->check(CLI::PositiveNumber);
    sub->add_option("--temperature", flags->options.temperature, "0 is greedy")
        ->capture_default_str()
        ->check(CLI::Range(0.0, 2.0));
    sub->add_option("--seed", flags->options.seed, "Seed for sampling")->capture_default_str();
    sub->add_option("--concurrency", flags->options.concurrency, "Chats in flight at once")
        ->capture_default_str()
        ->check(CLI::Range(1, 256));
    sub->add_flag("--no-session-header", flags->no_session,
                  "Send no session key, so that the router finds the session by content");
    sub->add_option("--expect-hit-rate", flags->options.hit_rate_min,
                    "Fail if the inter-turn hit rate is below this")
        ->check(CLI::Range(0.0, 1.0));
    sub->add_option("--expect-moved", flags->options.moved_max,
                    "Fail if more sessions than this changed their node")
        ->check(CLI::NonNegativeNumber);
    sub->add_flag("--json", flags->options.json, "End with one line of JSON");
    sub->add_flag("--quiet", flags->options.quiet, "No row per turn");
    sub->footer(
        "Example:\n  hearth replay --router 127.0.0.1:8080 --chats deploy/demo/chats.jsonl --json");
    sub->callback([flags, &exit_code] {
        flags->options.session_header = !flags->no_session;
        exit_code = replay(flags->options, flags->chats, flags->chats_max, flags->turns_max);
    });
}

}  // namespace hearth::cli
