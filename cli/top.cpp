// hearth top: the fleet as it changes, until Ctrl-C.
#include <sys/ioctl.h>
#include <unistd.h>

#include <boost/json.hpp>
#include <cstdio>
#include <memory>

#include "cli/admin_client.h"
#include "cli/commands.h"
#include "cli/run_task.h"
#include "cli/top_view.h"
#include "common/base/clock.h"
#include "common/config/environment.h"
#include "common/wire/json_text.h"

namespace hearth::cli {
namespace {

namespace json = boost::json;

struct TopFlags {
    AdminFlags admin;
    double interval_s = 2;
    bool once = false;
};

std::size_t terminal_columns() {
    winsize size{};
    return ::ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 ? size.ws_col : 0;
}

// Writes over what stands there: whatever is left of a longer line goes.
std::string over(const std::string& text) {
    std::string out;
    for (const char c : text) out += c == '\n' ? std::string("\x1b[K\n") : std::string(1, c);
    return out;
}

// On a terminal each frame takes the place of the one before; else they follow each other.
bool show(const TopFrame& frame, const TopFlags& flags) {
    if (flags.admin.json) {
        std::printf("%s\n", json_text(top_json(frame)).c_str());
    } else if (::isatty(STDOUT_FILENO) != 1) {
        std::printf("%s%s", top_text(frame, {}).c_str(), flags.once ? "" : "\n");
    } else {
        TopStyle style;
        style.color = environment("NO_COLOR").empty();
        style.columns = terminal_columns();
        const std::string text = top_text(frame, style);
        if (flags.once)
            std::printf("%s", text.c_str());
        else
            std::printf("\x1b[H%s\x1b[K\nCtrl-C ends\x1b[K\x1b[J", over(text).c_str());
    }
    return std::fflush(stdout) == 0;
}

Task<int> watch(asio::io_context& io, TopFlags flags) {
    const Clock& clock = SystemClock::instance();
    TopView view;
    const bool drawn = !flags.once && !flags.admin.json && ::isatty(STDOUT_FILENO) == 1;
    if (drawn) std::printf("\x1b[2J");
    asio::steady_timer timer(io);
    while (true) {
        Question which{"GET", "/admin/v1/nodes"};
        const auto nodes = co_await ask(io, flags.admin, which);
        which.target = "/admin/v1/history";
        const auto history = co_await ask(io, flags.admin, which);
        for (const auto* answer : {&nodes, &history}) {
            if (answer->ok()) continue;
            std::fprintf(stderr, "hearth top: %s\n", answer->error().message.c_str());
            co_return answer->error().code == ErrorCode::kInvalidArgument ? 2 : 1;
        }
        if (!show(view.next(*nodes, *history, clock.now()), flags) || flags.once) co_return 0;
        timer.expires_after(
            std::chrono::milliseconds(static_cast<std::int64_t>(flags.interval_s * 1000)));
        boost::system::error_code ignored;
        co_await timer.async_wait(asio::redirect_error(asio::use_awaitable, ignored));
    }
}

}  // namespace

void add_top(CLI::App& app, int& exit_code) {
    auto flags = std::make_shared<TopFlags>();
    CLI::App* sub = app.add_subcommand(
        "top", "The fleet as it changes: hit rate, ceiling, misses, load of each node");
    sub->add_flag("--once", flags->once, "Show it once and end");
    sub->add_option("--interval", flags->interval_s, "Seconds between two looks")
        ->check(CLI::Range(0.2, 3600.0))
        ->capture_default_str();
    add_admin_flags(*sub, flags->admin);
    sub->footer(
        "Of a node: turns of this router in flight, turns that it runs and that wait there, its "
        "hit\nrate since it began, prompt tokens a second. With --json each look is a line.\n"
        "Examples:\n  hearth top\n  hearth top --once --json | jq .hour.hit_rate");
    sub->callback([flags, &exit_code] {
        asio::io_context io;
        exit_code = run_task(io, watch(io, *flags));
    });
}

}  // namespace hearth::cli
