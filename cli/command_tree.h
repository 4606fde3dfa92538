// CommandTree: what the command line takes, read from the CLI11 app, for completions and manuals.
#pragma once

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

namespace hearth::cli {

struct Flag {
    std::vector<std::string> names;  // "-h", "--help"; of a positional its name alone.
    std::string about, standard;     // The default as text; empty = none.
    bool takes_value = false, required = false;
    std::vector<std::string> choices;  // The only values that it takes; empty = any.
};

struct Command {
    std::string path;  // "model get"; empty = the program itself.
    std::string about, footer;
    std::vector<std::string> subcommands;
    std::vector<Flag> flags, positionals;
};

// The program and all its subcommands, each before its own subcommands.
std::vector<Command> command_tree(const CLI::App& app);

// The app that a subcommand belongs to, at the very top.
const CLI::App& root_of(const CLI::App& app);

}  // namespace hearth::cli
