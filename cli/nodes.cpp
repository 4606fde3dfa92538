// hearth nodes: the members as a router sees them: state, generation, load, turns, ejections.
#include <boost/json.hpp>
#include <cstdio>
#include <memory>

#include "cli/admin_client.h"
#include "cli/commands.h"

namespace hearth::cli {
namespace {

namespace json = boost::json;

// "ejected (probe)", "draining (operator)", "active".
std::string state_of(const json::object& node) {
    const std::string reason = text_at(node, "reason");
    return text_at(node, "state") + (reason == "-" ? "" : " (" + reason + ")");
}

void show_nodes(const json::object& answer) {
    std::printf("%-16s %-22s %-20s %-17s %-8s %7s %7s %9s %7s %7s\n", "node", "address", "state",
                "generation", "source", "weight", "load", "in flight", "running", "waiting");
    const json::value* nodes = answer.if_contains("nodes");
    if (nodes == nullptr || !nodes->is_array()) return;
    for (const json::value& entry : nodes->as_array()) {
        if (!entry.is_object()) continue;
        const json::object& node = entry.as_object();
        const std::string generation = text_at(node, "generation");
        const bool silent = generation.empty();  // Not one of ours: it publishes nothing.
        const auto told = [&node, silent](const char* key) {
            return silent ? "-" : text_at(node, key);
        };
        std::printf("%-16s %-22s %-20s %-17s %-8s %7.2f %7.2f %9.0f %7s %7s\n",
                    text_at(node, "id").c_str(), text_at(node, "address").c_str(),
                    state_of(node).c_str(), silent ? "-" : generation.c_str(),
                    text_at(node, "source").c_str(), number_at(node, "weight"),
                    number_at(node, "load"), number_at(node, "in_flight"), told("running").c_str(),
                    told("waiting").c_str());
    }
}

}  // namespace

void add_nodes(CLI::App& app, int& exit_code) {
    auto flags = std::make_shared<AdminFlags>();
    CLI::App* sub = app.add_subcommand("nodes", "Each node's state, generation, load and turns");
    add_admin_flags(*sub, *flags);
    sub->footer(
        "In flight: turns of this router on the node; running and waiting: what the node says.\n"
        "Examples:\n  hearth nodes --admin 127.0.0.1:8081\n  hearth nodes --json");
    sub->callback([flags, &exit_code] {
        exit_code = ask_and_show("nodes", *flags, {"GET", "/admin/v1/nodes"}, show_nodes);
    });
}

}  // namespace hearth::cli
