// hearth status: who is up, how loaded, how warm; from the router's admin listener.
#include <boost/json.hpp>
#include <cstdio>
#include <memory>

#include "cli/admin_client.h"
#include "cli/commands.h"

namespace hearth::cli {
namespace {

namespace json = boost::json;

std::string percent(double part, double whole) {
    if (whole <= 0) return "-";
    char text[32];
    std::snprintf(text, sizeof(text), "%.1f%%", 100 * part / whole);
    return text;
}

void print_table(const json::object& answer) {
    std::printf("%-14s %-22s %-9s %-8s %7s %7s %14s %9s %9s\n", "node", "address", "state",
                "healthy", "running", "waiting", "KV MiB", "hit rate", "tokens");
    const auto* nodes = answer.if_contains("nodes");
    if (!nodes || !nodes->is_array()) return;
    double reused = 0, reusable = 0;
    for (const json::value& entry : nodes->as_array()) {
        if (!entry.is_object()) continue;
        const json::object& n = entry.as_object();
        const auto* healthy = n.if_contains("healthy");
        char kv[32];
        const double kv_max = number_at(n, "kv_bytes_max");  // 0: a server that says nothing.
        std::snprintf(kv, sizeof(kv), kv_max > 0 ? "%.0f/%.0f" : "-",
                      number_at(n, "kv_bytes_used") / (1 << 20), kv_max / (1 << 20));
        std::printf("%-14s %-22s %-9s %-8s %7.0f %7.0f %14s %9s %9.0f\n", text_at(n, "id").c_str(),
                    text_at(n, "address").c_str(), text_at(n, "state").c_str(),
                    healthy && healthy->is_bool() && healthy->as_bool() ? "yes" : "no",
                    number_at(n, "running"), number_at(n, "waiting"), kv,
                    percent(number_at(n, "reused_tokens"), number_at(n, "reusable_tokens")).c_str(),
                    number_at(n, "prompt_tokens"));
        reused += number_at(n, "reused_tokens");
        reusable += number_at(n, "reusable_tokens");
    }
    const auto* directory = answer.if_contains("directory_up");
    const bool is_used = directory && directory->is_bool();
    const char* store = !is_used ? "not used" : directory->as_bool() ? "up" : "down";
    std::printf("fleet: inter-turn hit rate %s; metadata store %s\n",
                percent(reused, reusable).c_str(), store);
}

}  // namespace

void add_status(CLI::App& app, int& exit_code) {
    auto flags = std::make_shared<AdminFlags>();
    CLI::App* sub = app.add_subcommand("status", "Nodes, load and hit rate of a fleet");
    add_admin_flags(*sub, *flags);
    sub->footer("Example:\n  hearth status --admin 127.0.0.1:8081");
    sub->callback([flags, &exit_code] {
        exit_code = ask_and_show("status", *flags, {"GET", "/admin/v1/nodes"}, print_table);
    });
}

}  // namespace hearth::cli
