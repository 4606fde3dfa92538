// hearth docs: pages that are made from the programs, so that they cannot say anything else.
#include <cstdio>
#include <memory>
#include <sstream>
#include <string>

#include "cachenode/config.h"
#include "cli/command_tree.h"
#include "cli/commands.h"
#include "common/config/manual.h"
#include "common/config/options.h"
#include "router/config.h"

namespace hearth::cli {
namespace {

// A program's settings at their defaults. What was declared refers to the config beside it.
template <typename Config>
struct Declared {
    Declared(const char* program, const char* about, const char* example)
        : options(program, about, {example}) {
        config.declare(options);
    }
    Config config;
    Options options;
};

struct Router : Declared<RouterConfig> {
    Router()
        : Declared("hearth-router", "sticky-session router for chat models",
                   "hearth-router --listen 0.0.0.0:8080 --redis 127.0.0.1:6379") {}
};
struct Cachenode : Declared<NodeConfig> {
    Cachenode()
        : Declared("hearth-cachenode", "OpenAI-compatible server that keeps KV",
                   "hearth-cachenode --config /etc/hearth/cachenode.yaml --check") {}
};

std::string configuration() {
    return "# Settings\n\n"
           "Written by `hearth docs configuration` from the programs' own tables; do not edit. "
           "Commented files to begin with: `deploy/config/`.\n\n"
           "Each setting is a YAML key, a flag and a variable. A flag wins over the variable, the "
           "variable over the file, the file over the\ndefault; `--print-config` says where each "
           "came from. Sizes are like `512MiB`, durations like `250ms`, `2s`, `5m`, `1h`. Of a\n"
           "secret and its `_file` only one may be set. Lists of maps are in the file only. An "
           "unknown name is an error that names the nearest.\n\n"
           "## hearth-router\n\n" +
           Router().options.reference() + "\n## hearth-cachenode\n\n" +
           Cachenode().options.reference();
}

std::string with_value(const Flag& flag) {
    std::string out;
    for (const std::string& name : flag.names) out += (out.empty() ? "" : ", ") + name;
    return flag.takes_value ? out + " VALUE" : out;
}

std::string about(const Flag& flag) {
    std::string out = flag.about;
    for (std::size_t i = 0; i < flag.choices.size(); ++i)
        out += (i == 0 ? "; one of " : ", ") + flag.choices[i];
    return flag.standard.empty() ? out : out + "; default " + flag.standard;
}

std::vector<std::string> lines_of(const std::string& text) {
    std::vector<std::string> out;
    std::istringstream in(text);
    for (std::string line; std::getline(in, line);) out.push_back(line);
    return out;
}

std::string tool_manual(const std::vector<Command>& tree) {
    std::string out = manual_head({"hearth", 1, tree.front().about, "COMMAND [ARGUMENT]..."});
    out += ".SH COMMANDS\n";
    for (const Command& command : tree) {
        if (command.path.empty() || !command.subcommands.empty()) continue;
        std::string title = command.path;
        for (const Flag& each : command.positionals)
            title += each.required ? " " + each.names.front() : " [" + each.names.front() + "]";
        out += ".SS " + roff(title) + "\n" + roff(command.about) + ".\n";
        for (const Flag& each : command.positionals)
            out += manual_entry(each.names.front(), about(each));
        for (const Flag& flag : command.flags)
            if (flag.names.back() != "--help") out += manual_entry(with_value(flag), about(flag));
        if (command.footer.empty()) continue;
        out += ".PP\n.nf\n" + roff(command.footer) + "\n.fi\n";
    }
    return out + manual_lines("EXAMPLES", lines_of(tree.front().footer)) + manual_tail();
}

}  // namespace

void add_docs(CLI::App& app, int& exit_code) {
    const auto program = std::make_shared<std::string>();
    CLI::App* sub = app.add_subcommand("docs", "Manual pages and the table of all settings");
    sub->require_subcommand(1);
    sub->footer(
        "Examples:\n  hearth docs configuration\n  hearth docs man hearth-router | man -l -");
    CLI::App* table =
        sub->add_subcommand("configuration", "All settings, as docs/configuration.md");
    table->footer("Example:\n  hearth docs configuration > docs/configuration.md");
    table->callback([&exit_code] {
        std::fputs(configuration().c_str(), stdout);
        exit_code = 0;
    });
    CLI::App* man = sub->add_subcommand("man", "A program's manual page, for man(1)");
    man->add_option("program", *program, "hearth, hearth-router or hearth-cachenode")
        ->required()
        ->check(CLI::IsMember({"hearth", "hearth-router", "hearth-cachenode"}));
    man->footer("Example:\n  hearth docs man hearth | man -l -");
    man->callback([sub, program, &exit_code] {
        const std::string page = *program == "hearth" ? tool_manual(command_tree(root_of(*sub)))
                                 : *program == "hearth-router" ? Router().options.manual()
                                                               : Cachenode().options.manual();
        std::fputs(page.c_str(), stdout);
        exit_code = 0;
    });
}

}  // namespace hearth::cli
