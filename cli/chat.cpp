// hearth chat: a chat in the terminal, streamed, with a line per turn that says what the cache did.
#include <unistd.h>

#include <cstdio>
#include <iostream>
#include <memory>

#include "cachenode/api/strict_json.h"
#include "cli/commands.h"
#include "cli/run_task.h"
#include "cli/server_url.h"
#include "cli/turn_client.h"
#include "common/base/rng.h"

namespace hearth::cli {
namespace {

struct ChatFlags {
    TurnSettings turn;
    std::string system;
    std::string cacert;
};

constexpr const char* kChatHelp =
    "/quit, an empty line or Ctrl-D ends; /help shows this. Everything else is said to the model,\n"
    "with all that was said before; the line after each reply tells which node took the turn, "
    "why,\n"
    "and how much of the dialogue it still had. More: `hearth explain SESSION --source header`.";

// What to say in place of sending the line; empty: send it.
std::string not_sent(const std::string& line) {
    if (line == "/help") return kChatHelp;
    if (line.front() == '/') return std::string("no such command, and not sent\n") + kChatHelp;
    if (to_valid_utf8(line) == line) return {};
    return "[not sent: this is not UTF-8; set the terminal to UTF-8]";
}

// A session key that two chats started at different times do not share.
std::string fresh_session(const Clock& clock) {
    const auto when = static_cast<std::uint64_t>(clock.unix_now());
    char text[40];
    std::snprintf(text, sizeof(text), "chat-%016llx",
                  static_cast<unsigned long long>(mix64(when ^ mix64(::getpid()))));
    return text;
}

Task<int> chat(asio::io_context& io, ChatFlags flags) {
    const SystemClock& clock = SystemClock::instance();
    const bool terminal = ::isatty(STDOUT_FILENO) != 0;
    const char* dim = terminal ? "\033[2m" : "";
    const char* bold = terminal ? "\033[1m" : "";
    const char* plain = terminal ? "\033[0m" : "";
    auto url = server_url(flags.turn.router, flags.cacert);
    if (!url) {
        std::fprintf(stderr, "hearth chat: --router: %s\n", url.error().message.c_str());
        co_return 2;
    }
    flags.turn.router = url->host_port;
    HttpClient client(io, url->client);
    if (flags.turn.model.empty()) {
        auto models = co_await list_models(client, flags.turn.router);
        if (!models || models->empty()) {
            std::fprintf(stderr, "hearth chat: %s\n",
                         models ? "the router lists no model" : models.error().message.c_str());
            co_return 1;
        }
        flags.turn.model = models->front();
    }
    if (flags.turn.session.empty()) flags.turn.session = fresh_session(clock);
    std::printf("%smodel %s through %s://%s, session %s; /help for help, Ctrl-D ends%s\n", dim,
                flags.turn.model.c_str(), url->scheme.c_str(), flags.turn.router.c_str(),
                flags.turn.session.c_str(), plain);
    std::vector<Message> dialogue;
    if (!flags.system.empty()) dialogue.push_back({"system", flags.system});
    bool any_failed = false;
    for (int turn = 1;;) {
        std::printf("%syou>%s ", bold, plain);
        std::fflush(stdout);
        std::string line;
        if (!std::getline(std::cin, line) || line.empty() || line == "/quit") break;
        if (const std::string instead = not_sent(line); !instead.empty()) {
            std::printf("%s%s%s\n", dim, instead.c_str(), plain);
            continue;
        }
        dialogue.push_back({"user", line});
        const auto print = [](std::string_view text) {
            std::fwrite(text.data(), 1, text.size(), stdout);
            std::fflush(stdout);
        };
        const std::function<void(std::string_view)> on_text = print;
        TurnResult r = co_await run_turn(client, clock, flags.turn, dialogue, on_text);
        if (!r.error.empty()) {
            std::printf("\n%s[turn %d failed: %s]%s\n", dim, turn, r.error.c_str(), plain);
            dialogue.pop_back();  // The user may say it again.
            any_failed = true;
            ++turn;
            continue;
        }
        std::printf(
            "\n%s[turn %d: node %s (%s), %lld of %lld prompt tokens cached, TTFT %.0f ms%s]%s\n",
            dim, turn, r.node.c_str(), r.reason.c_str(), static_cast<long long>(r.cached_tokens),
            static_cast<long long>(r.prompt_tokens), r.ttft_ms,
            r.finish_reason == "length" ? "; cut at --max-tokens" : "", plain);
        dialogue.push_back({"assistant", r.text});
        ++turn;
    }
    std::printf("\n");
    co_return any_failed ? 1 : 0;
}

}  // namespace

void add_chat(CLI::App& app, int& exit_code) {
    auto flags = std::make_shared<ChatFlags>();
    flags->turn.router = "127.0.0.1:8080";
    flags->turn.temperature = 0.7;
    CLI::App* sub = app.add_subcommand("chat", "Chat in the terminal");
    sub->add_option("--router", flags->turn.router, "Router (or node), host:port or URL")
        ->capture_default_str();
    sub->add_option("--cacert", flags->cacert,
                    "PEM file of whom to trust for https; default: the system's");
    sub->add_option("--model", flags->turn.model, "Model name; default: the first one listed");
    sub->add_option("--session", flags->turn.session, "Session key; default: a new one");
    sub->add_option("--system", flags->system, "System prompt");
    sub->add_option("--max-tokens", flags->turn.max_tokens, "Longest reply, in tokens")
        ->capture_default_str()
        ->check(CLI::PositiveNumber);
    sub->add_option("--temperature", flags->turn.temperature, "0 is greedy")
        ->capture_default_str()
        ->check(CLI::Range(0.0, 2.0));
    sub->add_option("--seed", flags->turn.seed, "Seed for sampling")->capture_default_str();
    sub->footer(
        "Example:\n  hearth chat --router 127.0.0.1:8080 --system 'You are a kind lighthouse "
        "keeper.'");
    sub->callback([flags, &exit_code] {
        asio::io_context io;
        exit_code = run_task(io, chat(io, *flags));
    });
}

}  // namespace hearth::cli
