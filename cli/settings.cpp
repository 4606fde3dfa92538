// hearth config, hearth log-level: a running router's settings.
#include <boost/json.hpp>
#include <cstdio>
#include <memory>

#include "cli/admin_client.h"
#include "cli/commands.h"

namespace hearth::cli {
namespace {

namespace json = boost::json;

void show_config(const json::object& answer) {
    if (answer.at("settings").as_array().empty()) {
        std::printf("no settings are kept: this router was started by `hearth up`\n");
        return;
    }
    std::printf("hash %s\n\n", text_at(answer, "hash").c_str());
    for (const json::value& entry : answer.at("settings").as_array()) {
        const json::object& setting = entry.as_object();
        std::printf("%-28s %-32s %s\n", text_at(setting, "name").c_str(),
                    text_at(setting, "value").c_str(), text_at(setting, "origin").c_str());
    }
}

void show_names(const char* title, const json::value& names) {
    std::printf("%s", title);
    for (const json::value& name : names.as_array())
        std::printf(" %s", std::string(name.as_string()).c_str());
    std::printf("%s\n", names.as_array().empty() ? " nothing" : "");
}

void show_reload(const json::object& answer) {
    show_names("changed:      ", answer.at("changed"));
    show_names("needs restart:", answer.at("needs_restart"));
}

}  // namespace

void add_config(CLI::App& app, int& exit_code) {
    auto flags = std::make_shared<AdminFlags>();
    CLI::App* sub = app.add_subcommand("config", "A running router's settings");
    sub->require_subcommand(1);
    CLI::App* show = sub->add_subcommand("show", "Every setting and where it came from");
    CLI::App* reload =
        sub->add_subcommand("reload", "Read the settings again; a bad file changes nothing");
    for (CLI::App* each : {show, reload}) add_admin_flags(*each, *flags);
    sub->footer("Examples:\n  hearth config show\n  hearth config reload");
    show->callback([flags, &exit_code] {
        exit_code = ask_and_show("config show", *flags, {"GET", "/admin/v1/config"}, show_config);
    });
    reload->callback([flags, &exit_code] {
        exit_code =
            ask_and_show("config reload", *flags, {"POST", "/admin/v1/config/reload"}, show_reload);
    });
}

void add_log_level(CLI::App& app, int& exit_code) {
    auto flags = std::make_shared<AdminFlags>();
    auto level = std::make_shared<std::string>();
    CLI::App* sub = app.add_subcommand("log-level", "Show or set a running router's log level");
    sub->add_option("level", *level, "debug, info, warn or error; none = only show it");
    add_admin_flags(*sub, *flags);
    sub->footer("Example:\n  hearth log-level debug");
    sub->callback([flags, level, &exit_code] {
        Question question{"GET", "/admin/v1/log-level"};
        if (!level->empty())
            question = {"PUT", "/admin/v1/log-level",
                        json::serialize(json::object{{"level", *level}})};
        exit_code = ask_and_show("log-level", *flags, question, [](const json::object& answer) {
            std::printf("%s\n", text_at(answer, "level").c_str());
        });
    });
}

}  // namespace hearth::cli
