// hearth explain, hearth sessions: where a session's next turn goes and why; where its last went.
#include <boost/json.hpp>
#include <cstdio>
#include <ctime>
#include <memory>

#include "cli/admin_client.h"
#include "cli/commands.h"

namespace hearth::cli {
namespace {

namespace json = boost::json;

struct SessionFlags {
    AdminFlags admin;
    std::string key;
    std::string source;
    std::string tenant;
};

void add_session_flags(CLI::App& sub, SessionFlags& flags) {
    sub.add_option("key", flags.key,
                   "The session: 32 hex digits, or with --source a key as clients send it")
        ->required();
    sub.add_option("--source", flags.source,
                   "Where clients send it: header, cookie, prompt_cache_key, conversation, "
                   "session_id, metadata, user");
    sub.add_option("--tenant", flags.tenant, "Name of the tenant whose key it is");
    add_admin_flags(sub, flags.admin);
}

// Hex digits name a session by themselves; a client's key does only with its source.
bool needs_source(const char* command, const SessionFlags& flags) {
    const bool hex = flags.key.size() == 32 &&
                     flags.key.find_first_not_of("0123456789abcdefABCDEF") == std::string::npos;
    if (hex || !flags.source.empty()) return false;
    std::fprintf(
        stderr, "hearth %s: '%s' is a key as clients send it: say where, such as --source header\n",
        command, flags.key.c_str());
    return true;
}

std::string parameters(const SessionFlags& flags) {
    std::string out;
    if (!flags.source.empty()) out += "source=" + percent_encoded(flags.source);
    if (!flags.tenant.empty())
        out += (out.empty() ? "" : "&") + ("tenant=" + percent_encoded(flags.tenant));
    return out;
}

// A number that may be unknown, as a table's cell.
std::string cell(const json::object& object, const char* key) {
    const json::value* value = object.if_contains(key);
    if (value == nullptr || !value->is_number()) return "-";
    char text[32];
    std::snprintf(text, sizeof text, "%.1f", number_at(object, key));
    return text;
}

void show_order(const json::object& answer) {
    const json::value* order = answer.if_contains("order");
    if (order == nullptr || !order->is_array()) return;
    std::printf("\n%4s  %-20s %7s %7s %9s %9s\n", "rank", "node", "weight", "usable", "load",
                "wait ms");
    for (const json::value& entry : order->as_array()) {
        const json::object& node = entry.as_object();
        std::printf("%4.0f  %-20s %7.2f %7s %9.2f %9s\n", number_at(node, "rank"),
                    text_at(node, "node").c_str(), number_at(node, "weight"),
                    text_at(node, "usable") == "true" ? "yes" : "no", number_at(node, "load"),
                    cell(node, "wait_ms").c_str());
    }
}

// Who has the session's KV and how that is known; the number of its tokens comes with the node's
// record, and is 0 until then.
std::string holder_of(const json::object& answer) {
    const std::string holder = text_at(answer, "holder");
    if (holder == "-") return "- (no router and no store has a note of it)";
    const double tokens = number_at(answer, "tokens");
    const std::string size = tokens > 0 ? ", " + text_at(answer, "tokens") + " tokens" : "";
    return holder + " (known by: " + text_at(answer, "known_by") + ", epoch " +
           text_at(answer, "epoch") + size + ")";
}

void show_placement(const json::object& answer) {
    std::printf("session  %s\n", text_at(answer, "session").c_str());
    std::printf("node     %s (%s)\n", text_at(answer, "node").c_str(),
                text_at(answer, "reason").c_str());
    std::printf("why      %s\n", text_at(answer, "why").c_str());
    std::printf("home     %s\nholder   %s\npin      %s\n", text_at(answer, "home").c_str(),
                holder_of(answer).c_str(), text_at(answer, "pin").c_str());
    show_order(answer);
}

std::string clock_time(double unix_ms) {
    const auto at = static_cast<std::time_t>(unix_ms / 1e3);
    std::tm parts{};
    gmtime_r(&at, &parts);
    char text[32];
    std::strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &parts);
    return text;
}

// Why a turn found less than it could have, and where its prompt left the session's last turn.
std::string why_missed(const json::object& turn) {
    std::string out;
    if (const json::value* missed = turn.if_contains("missed"); missed && missed->is_object()) {
        for (const auto& [reason, tokens] : missed->as_object())
            out += (out.empty() ? "" : ", ") + json::serialize(tokens) + " " + std::string(reason);
    }
    if (const json::value* at = turn.if_contains("diverged_at"); at && at->is_int64())
        out += (out.empty() ? "" : "; ") + std::string("leaves the last turn at token ") +
               std::to_string(at->get_int64());
    return out.empty() ? "-" : out;
}

void show_node_turns(const json::object& answer) {
    const json::value* nodes = answer.if_contains("nodes");
    if (nodes == nullptr || !nodes->is_array() || nodes->as_array().empty()) return;
    std::printf("\n%-16s %6s %9s %8s %8s %9s  %s\n", "KV found on", "turn", "ago s", "prompt",
                "cached", "reusable", "missed");
    for (const json::value& entry : nodes->as_array()) {
        const json::object& node = entry.as_object();
        const std::string name = text_at(node, "node");
        const json::value* turns = node.if_contains("turns");
        if (turns == nullptr || !turns->is_array()) {
            std::printf("%-16s %s\n", name.c_str(), text_at(node, "error").c_str());
            continue;
        }
        for (const json::value& each : turns->as_array()) {
            const json::object& turn = each.as_object();
            std::printf("%-16s %6.0f %9.1f %8.0f %8.0f %9.0f  %s\n", name.c_str(),
                        number_at(turn, "turn"), number_at(turn, "age_ms") / 1e3,
                        number_at(turn, "prompt_tokens"), number_at(turn, "cached_tokens"),
                        number_at(turn, "reusable_tokens"), why_missed(turn).c_str());
        }
    }
}

void show_session(const json::object& answer) {
    if (const json::value* placement = answer.if_contains("placement"))
        show_placement(placement->as_object());
    const json::value* turns = answer.if_contains("turns");
    if (turns == nullptr || !turns->is_array() || turns->as_array().empty()) {
        std::printf("\nno turn of it was seen by this router\n");
        show_node_turns(answer);
        return;
    }
    std::printf("\n%-21s %-16s %-8s %6s %8s %12s %10s  %s\n", "ended", "node", "why", "status",
                "attempts", "first byte", "total ms", "request");
    for (const json::value& entry : turns->as_array()) {
        const json::object& turn = entry.as_object();
        std::printf("%-21s %-16s %-8s %6s %8s %12.1f %10.1f  %s\n",
                    clock_time(number_at(turn, "at_ms")).c_str(), text_at(turn, "node").c_str(),
                    text_at(turn, "reason").c_str(), text_at(turn, "status").c_str(),
                    text_at(turn, "attempts").c_str(), number_at(turn, "first_byte_ms"),
                    number_at(turn, "total_ms"), text_at(turn, "request_id").c_str());
    }
    show_node_turns(answer);
}

}  // namespace

void add_explain(CLI::App& app, int& exit_code) {
    auto flags = std::make_shared<SessionFlags>();
    CLI::App* sub = app.add_subcommand("explain", "Where a session's next turn would go, and why");
    add_session_flags(*sub, *flags);
    sub->footer(
        "Examples:\n  hearth explain chat-42 --source header\n"
        "  hearth explain 0123456789abcdef0123456789abcdef --json");
    sub->callback([flags, &exit_code] {
        exit_code = 2;
        if (needs_source("explain", *flags)) return;
        const std::string more = parameters(*flags);
        const Question question{"GET", "/admin/v1/explain?key=" + percent_encoded(flags->key) +
                                           (more.empty() ? "" : "&" + more)};
        exit_code = ask_and_show("explain", flags->admin, question, show_placement);
    });
}

void add_sessions(CLI::App& app, int& exit_code) {
    auto flags = std::make_shared<SessionFlags>();
    CLI::App* sub = app.add_subcommand(
        "sessions", "A session's placement, its last turns, and what of its KV they found");
    add_session_flags(*sub, *flags);
    sub->footer("Example:\n  hearth sessions chat-42 --source header");
    sub->callback([flags, &exit_code] {
        exit_code = 2;
        if (needs_source("sessions", *flags)) return;
        const std::string more = parameters(*flags);
        const Question question{"GET", "/admin/v1/sessions/" + percent_encoded(flags->key) +
                                           (more.empty() ? "" : "?" + more)};
        exit_code = ask_and_show("sessions", flags->admin, question, show_session);
    });
}

}  // namespace hearth::cli
