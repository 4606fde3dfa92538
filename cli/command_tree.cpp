// Walks the CLI11 app; the choices of an option are in the name of its type, as "{a,b}".
#include "cli/command_tree.h"

#include <sstream>

namespace hearth::cli {
namespace {

std::vector<std::string> choices_in(const std::string& type) {
    const std::size_t begin = type.find('{'), end = type.find('}');
    if (begin == std::string::npos || end == std::string::npos) return {};
    std::vector<std::string> out;
    std::istringstream in(type.substr(begin + 1, end - begin - 1));
    for (std::string each; std::getline(in, each, ',');) out.push_back(each);
    return out;
}

Flag flag_of(const CLI::Option& option) {
    Flag out;
    for (const std::string& name : option.get_snames()) out.names.push_back("-" + name);
    for (const std::string& name : option.get_lnames()) out.names.push_back("--" + name);
    if (out.names.empty()) out.names.push_back(option.get_name(true));
    out.about = option.get_description();
    out.standard = option.get_default_str();
    out.takes_value = option.get_items_expected_max() > 0;
    out.required = option.get_required();
    out.choices = choices_in(option.get_type_name());
    return out;
}

void add(const CLI::App& app, const std::string& path, std::vector<Command>& out) {
    Command command;
    command.path = path;
    command.about = app.get_description();
    command.footer = app.get_footer();
    for (const CLI::Option* option : app.get_options())
        (option->get_positional() ? command.positionals : command.flags)
            .push_back(flag_of(*option));
    for (const CLI::App* sub : app.get_subcommands([](const CLI::App*) { return true; }))
        command.subcommands.push_back(sub->get_name());
    out.push_back(std::move(command));
    for (const CLI::App* sub : app.get_subcommands([](const CLI::App*) { return true; }))
        add(*sub, path.empty() ? sub->get_name() : path + " " + sub->get_name(), out);
}

}  // namespace

std::vector<Command> command_tree(const CLI::App& app) {
    std::vector<Command> out;
    add(app, "", out);
    return out;
}

const CLI::App& root_of(const CLI::App& app) {
    const CLI::App* at = &app;
    while (at->get_parent() != nullptr) at = at->get_parent();
    return *at;
}

}  // namespace hearth::cli
