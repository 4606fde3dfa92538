// hearth what-if: how many sessions, and how much KV, would move if the members changed.
#include <boost/json.hpp>
#include <cstdio>
#include <memory>
#include <vector>

#include "cli/admin_client.h"
#include "cli/commands.h"

namespace hearth::cli {
namespace {

namespace json = boost::json;

struct WhatIfFlags {
    AdminFlags admin;
    std::vector<std::string> add, remove, reweigh;
    std::string sessions;
};

void show(const json::object& answer) {
    std::printf("%.2f %% of the sessions and %.2f %% of their KV would move (of %s %s)\n\n",
                100 * number_at(answer, "sessions_moved"), 100 * number_at(answer, "kv_moved"),
                text_at(answer, "sessions").c_str(),
                text_at(answer, "sessions_from") == "known" ? "sessions that the router knows"
                                                            : "sessions of a sample");
    std::printf("%-20s %17s %25s %25s\n", "node", "weight", "sessions %", "KV %");
    for (const json::value& entry : answer.at("nodes").as_array()) {
        const json::object& node = entry.as_object();
        std::printf("%-20s %7.2f -> %6.2f %11.2f -> %10.2f %11.2f -> %10.2f\n",
                    text_at(node, "node").c_str(), number_at(node, "weight_before"),
                    number_at(node, "weight_after"), 100 * number_at(node, "sessions_before"),
                    100 * number_at(node, "sessions_after"), 100 * number_at(node, "kv_before"),
                    100 * number_at(node, "kv_after"));
    }
}

std::string body_of(const WhatIfFlags& flags) {
    json::object body;
    if (!flags.add.empty()) body["add"] = json::value_from(flags.add);
    if (!flags.remove.empty()) body["remove"] = json::value_from(flags.remove);
    if (!flags.reweigh.empty()) body["reweigh"] = json::value_from(flags.reweigh);
    if (!flags.sessions.empty()) body["sessions"] = flags.sessions;
    return json::serialize(body);
}

}  // namespace

void add_what_if(CLI::App& app, int& exit_code) {
    auto flags = std::make_shared<WhatIfFlags>();
    CLI::App* sub = app.add_subcommand(
        "what-if", "How many sessions would move if nodes came, went or were weighed otherwise");
    sub->add_option("--add", flags->add, "ID or ID:WEIGHT of a node that joins; repeatable");
    sub->add_option("--remove", flags->remove, "ID of a node that leaves; repeatable");
    sub->add_option("--reweigh", flags->reweigh, "ID:WEIGHT; repeatable");
    sub->add_option("--sessions", flags->sessions,
                    "known: those the router remembers; sample: 100,000 made-up ones");
    add_admin_flags(*sub, flags->admin);
    sub->footer(
        "Examples:\n  hearth what-if --add node-4\n"
        "  hearth what-if --remove node-1 --reweigh node-2:0.5 --json");
    sub->callback([flags, &exit_code] {
        if (flags->add.empty() && flags->remove.empty() && flags->reweigh.empty())
            throw CLI::RequiredError("--add, --remove or --reweigh");
        const Question question{"POST", "/admin/v1/what-if", body_of(*flags)};
        exit_code = ask_and_show("what-if", flags->admin, question, show);
    });
}

}  // namespace hearth::cli
