// hearth drain, hearth undrain: take a node out of service and put it back.
#include <boost/json.hpp>
#include <cmath>
#include <cstdio>
#include <memory>

#include "cli/admin_client.h"
#include "cli/commands.h"
#include "cli/drain_progress.h"
#include "cli/run_task.h"
#include "common/base/clock.h"
#include "common/wire/json_text.h"

namespace hearth::cli {
namespace {

namespace json = boost::json;

struct DrainFlags {
    AdminFlags admin;
    std::string node;
    bool wait = false;
    std::int64_t timeout_s = 300;
    bool drained = true;
    bool self = false;
    SelfFlags own;
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

Left left_of(const json::object& drain) {
    const auto is_true = [&drain](const char* name) {
        const json::value* value = drain.if_contains(name);
        return value != nullptr && value->is_bool() && value->as_bool();
    };
    return {number_at(drain, "turns"), number_at(drain, "sessions"), is_true("hands_over"),
            is_true("has_heard")};
}

std::string progress_of(const json::object& drain) {
    std::string out = words_of(left_of(drain));
    const json::value* eta = drain.if_contains("eta_s");
    if (eta == nullptr || !eta->is_number() || number_at(drain, "sessions") <= 0) return out;
    char text[64];
    std::snprintf(text, sizeof(text), ", about %.0f s left", std::ceil(number_at(drain, "eta_s")));
    return out + text;
}

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
        progress.show(flags.node + ": " + progress_of(*drain), left_of(*drain).sessions);
        if (rest.has_come(left_of(*drain), clock.now())) co_return std::move(*node);
        if (clock.now() >= end)
            co_return make_error(ErrorCode::kTimeout, flags.node + " still has work after " +
                                                          std::to_string(flags.timeout_s) +
                                                          " s: " + progress_of(*drain));
        timer.expires_after(kDrainLook);
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
        std::printf("%s\n", json_text(*answer).c_str());
        co_return 0;
    }
    const json::object* drain = drain_of(*answer);
    const bool rests = flags.wait || drain == nullptr || is_at_rest(left_of(*drain));
    std::printf("%s %s", flags.node.c_str(),
                !flags.drained ? "is in service again"
                : rests        ? "is drained"
                               : "drains");
    if (flags.drained && drain != nullptr && !is_at_rest(left_of(*drain)))
        std::printf(": %s", progress_of(*drain).c_str());
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
        CLI::Option* node =
            sub->add_option("node", flags->node, "The node's id, as `hearth status` has it");
        add_admin_flags(*sub, flags->admin);
        if (drained) {
            sub->add_flag("--wait", flags->wait,
                          "Return when no turn runs there and its sessions are with their heirs");
            sub->add_option("--timeout", flags->timeout_s, "Seconds to wait at most")
                ->check(CLI::Range(1, 86'400));
            CLI::Option* self = sub->add_flag(
                "--self", flags->self,
                "The node that runs beside this program, until it ends: no mark stays anywhere");
            self->excludes(node);
            sub->add_option("--pid", flags->own.pid,
                            "With --self: its process; default: the only hearth-cachenode here")
                ->check(CLI::PositiveNumber)
                ->needs(self);
            sub->add_option("--node-url", flags->own.place, "With --self: where it listens")
                ->capture_default_str()
                ->needs(self);
            sub->footer(
                "Examples:\n  hearth drain node-2 --wait\n  hearth drain node-2 --wait --json\n"
                "  hearth drain --self --wait");
        } else {
            node->required();
            sub->footer("Example:\n  hearth undrain node-2");
        }
        sub->callback([flags, &exit_code] {
            if (flags->drained && !flags->self && flags->node.empty())
                throw CLI::RequiredError("node or --self");
            asio::io_context io;
            SelfFlags own = flags->own;
            own.cacert = flags->admin.cacert;
            own.json = flags->admin.json;
            own.wait = flags->wait;
            own.timeout_s = flags->timeout_s;
            exit_code = run_task(io, flags->self ? drain_self(io, own) : change(io, *flags));
        });
    }
}

}  // namespace hearth::cli
