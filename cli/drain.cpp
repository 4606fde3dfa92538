// hearth drain, hearth undrain: take a node out of service and put it back.
#include <unistd.h>
#include <boost/json.hpp>
#include <cmath>
#include <cstdio>
#include <memory>

#include "cli/admin_client.h"
#include "cli/commands.h"
#include "cli/run_task.h"
#include "common/base/clock.h"

namespace hearth::cli {
namespace {

namespace json = boost::json;

constexpr auto kLook = std::chrono::milliseconds(500);

struct DrainFlags {
    AdminFlags admin;
    std::string node;
    bool wait = false;
    std::int64_t timeout_s = 300;
    bool drained = true;
};

const json::object* drain_of(const json::object& answer) {
    const json::value* drain = answer.if_contains("drain");
    return drain != nullptr && drain->is_object() ? &drain->as_object() : nullptr;
}

// The node's part of the list of nodes.
Result<json::object> pick(const json::object& answer, const std::string& node) {
    const json::value* nodes = answer.if_contains("nodes");
    if (nodes != nullptr && nodes->is_array())
        for (const json::value& entry : nodes->as_array())
            if (entry.is_object() && text_at(entry.as_object(), "id") == node)
                return entry.as_object();
    return make_error(ErrorCode::kNotFound, "node '" + node + "' has left the fleet");
}

std::string progress_of(const json::object& drain) {
    char text[128];
    const json::value* eta = drain.if_contains("eta_s");
    const double turns = number_at(drain, "turns"), sessions = number_at(drain, "sessions");
    std::snprintf(text, sizeof(text), "%.0f turn%s running, %.0f session%s not moved yet", turns,
                  turns == 1 ? "" : "s", sessions, sessions == 1 ? "" : "s");
    std::string out = text;
    if (eta != nullptr && eta->is_number() && sessions > 0) {
        std::snprintf(text, sizeof(text), ", about %.0f s left",
                      std::ceil(number_at(drain, "eta_s")));
        out += text;
    }
    return out;
}

// On a terminal one line that changes; else a line when something has changed.
class Progress {
  public:
    explicit Progress(bool quiet) : quiet_(quiet), terminal_(isatty(STDERR_FILENO) == 1) {}
    ~Progress() {
        if (terminal_ && !last_.empty()) std::fprintf(stderr, "\n");
    }
    void show(const std::string& line) {
        if (quiet_ || line == last_) return;
        last_ = line;
        std::fprintf(stderr, terminal_ ? "\r\x1b[K%s" : "%s\n", line.c_str());
        std::fflush(stderr);
    }

  private:
    const bool quiet_, terminal_;
    std::string last_;
};

// Whether the node has nothing left to do. One that hands its sessions over is waited for while
// their number falls; those of others move with their next turns, whenever those come.
class Rest {
  public:
    bool has_come(const json::object& drain, MonotonicNs now) {
        const double sessions = number_at(drain, "sessions");
        if (sessions != sessions_) since_ = now;
        sessions_ = sessions;
        if (number_at(drain, "turns") > 0) return false;
        if (!is_true(drain, "hands_over") || now - since_ > kStuck) return true;
        return is_true(drain, "has_heard") && sessions == 0;
    }

  private:
    static bool is_true(const json::object& drain, const char* name) {
        const json::value* value = drain.if_contains(name);
        return value != nullptr && value->is_bool() && value->as_bool();
    }
    static constexpr MonotonicNs kStuck = 10 * kSecond;
    double sessions_ = -1;
    MonotonicNs since_ = 0;
};

// Until no turn runs on the node and it has handed over what it can.
Task<Result<json::object>> wait_for_rest(asio::io_context& io, DrainFlags flags) {
    Progress progress(flags.admin.json);
    Rest rest;
    const Clock& clock = SystemClock::instance();
    const MonotonicNs end = clock.now() + flags.timeout_s * kSecond;
    asio::steady_timer timer(io);
    while (true) {
        Question question{"GET", "/admin/v1/nodes"};
        const auto answer = co_await ask(io, flags.admin, question);
        if (!answer) co_return answer.error();
        auto node = pick(*answer, flags.node);
        if (!node) co_return node.error();
        const json::object* drain = drain_of(*node);
        if (drain == nullptr)
            co_return make_error(ErrorCode::kCancelled, "somebody has undrained " + flags.node);
        progress.show(flags.node + ": " + progress_of(*drain));
        if (rest.has_come(*drain, clock.now())) co_return std::move(*node);
        if (clock.now() >= end)
            co_return make_error(ErrorCode::kTimeout, flags.node + " still has work after " +
                                                          std::to_string(flags.timeout_s) +
                                                          " s: " + progress_of(*drain));
        timer.expires_after(kLook);
        boost::system::error_code ignored;
        co_await timer.async_wait(asio::redirect_error(asio::use_awaitable, ignored));
    }
}

Task<int> change(asio::io_context& io, DrainFlags flags) {
    const char* verb = flags.drained ? "drain" : "undrain";
    Question question{"POST", "/admin/v1/nodes/" + percent_encoded(flags.node) + "/" + verb};
    auto answer = co_await ask(io, flags.admin, question);
    if (answer && flags.wait) {
        const std::string warning = text_at(*answer, "error");
        if (warning != "-") std::fprintf(stderr, "hearth drain: %s\n", warning.c_str());
        answer = co_await wait_for_rest(io, flags);
    }
    if (!answer) {
        std::fprintf(stderr, "hearth %s: %s\n", verb, answer.error().message.c_str());
        co_return answer.error().code == ErrorCode::kInvalidArgument ? 2 : 1;
    }
    if (flags.admin.json) {
        std::printf("%s\n", json::serialize(*answer).c_str());
        co_return 0;
    }
    const json::object* drain = drain_of(*answer);
    std::printf("%s is %s", flags.node.c_str(), flags.drained ? "drained" : "in service again");
    if (flags.drained && drain != nullptr) std::printf(": %s", progress_of(*drain).c_str());
    std::printf("\n");
    const std::string warning = text_at(*answer, "error");
    if (warning != "-") std::fprintf(stderr, "hearth %s: %s\n", verb, warning.c_str());
    co_return 0;
}

}  // namespace

void add_drain(CLI::App& app, int& exit_code) {
    for (const bool drained : {true, false}) {
        auto flags = std::make_shared<DrainFlags>();
        flags->drained = drained;
        CLI::App* sub =
            drained ? app.add_subcommand(
                          "drain", "Send a node no more turns; its sessions go to their heirs")
                    : app.add_subcommand("undrain", "Send a drained node turns again");
        sub->add_option("node", flags->node, "The node's id, as `hearth status` has it")
            ->required();
        add_admin_flags(*sub, flags->admin);
        if (drained) {
            sub->add_flag("--wait", flags->wait,
                          "Return when no turn runs there and its sessions are with their heirs");
            sub->add_option("--timeout", flags->timeout_s, "Seconds to wait at most")
                ->check(CLI::Range(1, 86'400));
            sub->footer(
                "Examples:\n  hearth drain node-2 --wait\n  hearth drain node-2 --wait --json");
        } else {
            sub->footer("Example:\n  hearth undrain node-2");
        }
        sub->callback([flags, &exit_code] {
            asio::io_context io;
            exit_code = run_task(io, change(io, *flags));
        });
    }
}

}  // namespace hearth::cli
