// usage_error: finds the subcommand that failed, the word that it lacks, and the nearest name.
#include "cli/usage_error.h"

#include <algorithm>
#include <cctype>
#include <vector>

#include "common/config/values.h"

namespace hearth::cli {
namespace {

std::vector<std::string> subcommands_of(const CLI::App& app) {
    std::vector<std::string> names;
    for (const CLI::App* sub : app.get_subcommands(nullptr)) names.push_back(sub->get_name());
    return names;
}

std::vector<std::string> flags_of(const CLI::App& app) {
    std::vector<std::string> names;
    for (const CLI::Option* option : app.get_options())
        for (const std::string& name : option->get_lnames()) names.push_back("--" + name);
    return names;
}

std::string hint(const std::string& wrong, const std::vector<std::string>& names,
                 const std::string& command) {
    const std::string near(closest(wrong, names));
    return near.empty() ? "; see " + command + " --help" : ", did you mean " + near + "?";
}

// A word that was left over: a flag's name first, as its value is left over behind it.
std::string unknown_word(const CLI::App& app, const std::string& command) {
    const std::vector<std::string> left = app.remaining();
    if (left.empty()) return {};
    const auto is_flag = [](const std::string& word) { return word.starts_with("-"); };
    const auto flag = std::find_if(left.begin(), left.end(), is_flag);
    const std::vector<std::string> commands = subcommands_of(app);
    if (flag != left.end() && (commands.empty() || is_flag(left.front()))) {
        const std::string name = flag->substr(0, flag->find('='));
        return "unknown flag " + name + hint(name, flags_of(app), command);
    }
    const std::string& word = left.front();
    if (commands.empty()) return "unexpected argument '" + word + "'; see " + command + " --help";
    return "unknown command '" + word + "'" + hint(word, commands, command);
}

std::string missing_command(const CLI::App& app) {
    std::string names;
    for (const std::string& name : subcommands_of(app)) names += (names.empty() ? "" : ", ") + name;
    return "a subcommand is required: " + names;
}

}  // namespace

std::string usage_error(const CLI::App& app, const CLI::ParseError& error) {
    const CLI::App* reached = &app;
    std::string command = app.get_name();
    while (!reached->get_subcommands().empty()) {
        reached = reached->get_subcommands().front();
        command += " " + reached->get_name();
    }
    const bool by_name = dynamic_cast<const CLI::ExtrasError*>(&error) != nullptr ||
                         dynamic_cast<const CLI::RequiredError*>(&error) != nullptr;
    const std::string unknown = by_name ? unknown_word(*reached, command) : std::string();
    if (!unknown.empty()) return command + ": " + unknown;
    // What stands before the subcommand is left over there.
    const std::string before = by_name ? unknown_word(app, app.get_name()) : std::string();
    if (!before.empty()) return app.get_name() + ": " + before;
    const bool lacks_command = reached->get_require_subcommand_min() > 0;
    if (by_name && lacks_command) return command + ": " + missing_command(*reached);
    return command + ": " + error.what() + "; see " + command + " --help";
}

}  // namespace hearth::cli
