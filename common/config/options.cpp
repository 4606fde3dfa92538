// Options: one table of fields, filled from a YAML file, the environment and flags, in that order.
#include "common/config/options.h"

#include <yaml-cpp/yaml.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <fstream>
#include <sstream>

#include "common/config/environment.h"
#include "common/config/field.h"
#include "common/config/values.h"
#include "common/config/version.h"

namespace hearth {
namespace {

constexpr std::size_t kFileBytesMax = 1 << 20;

std::string flag_name(const std::string& name) {
    std::string flag = "--" + name;
    std::replace(flag.begin(), flag.end(), '_', '-');
    return flag;
}

std::string variable_name(const std::string& name) {
    std::string variable = "HEARTH_";
    for (const char c : name)
        variable += c == '.' ? '_' : static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
    return variable;
}

Error field_error(const std::string& where, const std::string& name, const Error& error) {
    return make_error(error.code, where + ": " + name + ": " + error.message);
}

std::vector<std::string> split_commas(const std::string& text) {
    std::vector<std::string> parts;
    std::istringstream in(text);
    for (std::string part; std::getline(in, part, ',');)
        if (!part.empty()) parts.push_back(part);
    return parts;
}

Result<std::string> read_file(const std::string& path) {
    std::ifstream in(path, std::ios::binary);
    if (!in) return make_error(ErrorCode::kNotFound, path + ": cannot be read");
    std::string text(kFileBytesMax + 1, '\0');
    in.read(text.data(), static_cast<std::streamsize>(text.size()));
    text.resize(static_cast<std::size_t>(in.gcount()));
    if (text.size() > kFileBytesMax)
        return make_error(ErrorCode::kTooLarge, path + ": larger than 1 MiB");
    return text;
}

// One entry of a list of maps, as text.
Result<std::map<std::string, std::string>> entry_fields(const YAML::Node& entry) {
    if (!entry.IsMap()) return make_error(ErrorCode::kInvalidArgument, "each entry must be a map");
    std::map<std::string, std::string> fields;
    for (const auto& pair : entry) {
        if (!pair.first.IsScalar() || !pair.second.IsScalar())
            return make_error(ErrorCode::kInvalidArgument, "each value must be a scalar");
        fields[pair.first.Scalar()] = pair.second.Scalar();
    }
    return fields;
}

}  // namespace

Options::Options(std::string program, std::string about, std::vector<std::string> examples)
    : program_(std::move(program)), about_(std::move(about)), examples_(std::move(examples)) {
    add("log_level", log_level_, "debug, info, warn or error");
    add("log_json", log_json_, "Log lines as JSON objects");
    add_check([this]() -> Result<void> {
        for (const char* level : {"debug", "info", "warn", "error"})
            if (log_level_ == level) return {};
        return make_error(ErrorCode::kInvalidArgument,
                          "log_level: must be debug, info, warn or error");
    });
}

Options::~Options() = default;

void Options::add(const std::string& name, std::string& place, const std::string& help) {
    fields_.push_back(Field::scalar(name, help, "text", string_access(place)));
}

void Options::add(const std::string& name, bool& place, const std::string& help) {
    fields_.push_back(Field::scalar(name, help, "true or false", bool_access(place)));
    fields_.back().is_bool = true;
}

void Options::add(const std::string& name, std::int64_t& place, std::int64_t min, std::int64_t max,
                  const std::string& help) {
    const std::string kind = std::to_string(min) + " to " + std::to_string(max);
    fields_.push_back(Field::scalar(name, help, kind, integer_access(place, min, max)));
}

void Options::add(const std::string& name, double& place, double min, double max,
                  const std::string& help) {
    fields_.push_back(Field::scalar(name, help, "number", number_access(place, min, max)));
}

void Options::add(const std::string& name, std::vector<std::string>& place,
                  const std::string& help) {
    Field field;
    field.name = name;
    field.help = help;
    field.kind = "list of texts";
    field.set_list = [&place](std::vector<std::string> values) { place = std::move(values); };
    field.get = [&place] {
        std::string text = "[";
        for (const std::string& each : place) text += (text.size() > 1 ? ", " : "") + quoted(each);
        return text + "]";
    };
    fields_.push_back(std::move(field));
}

void Options::add_bytes(const std::string& name, std::int64_t& place, const std::string& help) {
    fields_.push_back(Field::scalar(name, help, "size", bytes_access(place)));
}

void Options::add_duration_ms(const std::string& name, std::int64_t& place,
                              const std::string& help) {
    fields_.push_back(Field::scalar(name, help, "duration", duration_access(place)));
}

void Options::add_secret(const std::string& name, std::string& place, const std::string& help) {
    Field field = Field::scalar(name, help, "secret", string_access(place));
    field.is_secret = true;
    field.get = [&place] { return std::string(place.empty() ? "\"\"" : "\"<hidden>\""); };
    fields_.push_back(std::move(field));
    Field file = Field::scalar(name + "_file", "File that holds " + name, "path", {});
    file.get = [] { return std::string("\"\""); };
    file.set = [&place](const std::string& path) -> Result<void> {
        auto text = read_file(path);
        if (!text) return text.error();
        while (!text->empty() && (text->back() == '\n' || text->back() == '\r')) text->pop_back();
        place = *text;
        return {};
    };
    fields_.push_back(std::move(file));
}

void Options::add_entries(
    const std::string& name, const std::string& help,
    std::function<Result<void>(const std::map<std::string, std::string>&)> read) {
    Field field;
    field.name = name;
    field.help = help;
    field.kind = "list of maps";
    field.read_entry = std::move(read);
    field.get = [] { return std::string(); };
    fields_.push_back(std::move(field));
}

void Options::add_check(std::function<Result<void>()> check) {
    checks_.push_back(std::move(check));
}

Options::Field* Options::find(const std::string& name) {
    for (Field& field : fields_)
        if (field.name == name) return &field;
    return nullptr;
}

Result<void> Options::load_yaml(const std::string& text, const std::string& file_name) {
    YAML::Node root;
    try {
        root = YAML::Load(text);
    } catch (const YAML::ParserException& e) {
        return make_error(ErrorCode::kInvalidArgument,
                          file_name + ":" + std::to_string(e.mark.line + 1) + ":" +
                              std::to_string(e.mark.column + 1) + ": " + e.msg);
    } catch (const YAML::Exception& e) {
        return make_error(ErrorCode::kInvalidArgument, file_name + ": " + e.msg);
    }
    if (root.IsNull()) return {};
    if (!root.IsMap())
        return make_error(ErrorCode::kInvalidArgument, file_name + ":1: must be a map of settings");
    std::map<std::string, int> seen;
    for (const auto& pair : root) {
        const std::string where = file_name + ":" + std::to_string(pair.first.Mark().line + 1);
        if (!pair.first.IsScalar())
            return make_error(ErrorCode::kInvalidArgument,
                              where + ": a setting's name must be text");
        const std::string name = pair.first.Scalar();
        if (++seen[name] > 1)
            return make_error(ErrorCode::kInvalidArgument, where + ": " + name + ": set twice");
        if (auto set = set_from_yaml(name, pair.second, where); !set) return set;
    }
    return {};
}

Result<void> Options::set_from_yaml(const std::string& name, const YAML::Node& value,
                                    const std::string& where) {
    Field* field = find(name);
    if (!field) {
        std::vector<std::string> names;
        for (const Field& each : fields_) names.push_back(each.name);
        const std::string near(closest(name, names));
        return make_error(ErrorCode::kInvalidArgument,
                          where + ": " + name + ": unknown setting" +
                              (near.empty() ? "" : ", did you mean '" + near + "'?"));
    }
    field->origin = where;
    if (field->set) {
        if (!value.IsScalar())
            return make_error(ErrorCode::kInvalidArgument,
                              where + ": " + name + ": must be one value (" + field->kind + ")");
        if (auto set = field->set(value.Scalar()); !set)
            return field_error(where, name, set.error());
        return {};
    }
    if (!value.IsSequence())
        return make_error(ErrorCode::kInvalidArgument, where + ": " + name + ": must be a list");
    std::vector<std::string> list;
    for (const YAML::Node& entry : value) {
        const auto colon = where.rfind(':');
        const std::string line = where.substr(0, colon + 1) + std::to_string(entry.Mark().line + 1);
        if (field->set_list) {
            if (!entry.IsScalar())
                return make_error(ErrorCode::kInvalidArgument,
                                  line + ": " + name + ": must be text");
            list.push_back(entry.Scalar());
            continue;
        }
        auto fields = entry_fields(entry);
        if (!fields) return field_error(line, name, fields.error());
        if (auto read = field->read_entry(*fields); !read)
            return field_error(line, name, read.error());
    }
    if (field->set_list) field->set_list(std::move(list));
    return {};
}

Result<void> Options::load_environment() {
    for (Field& field : fields_) {
        const std::string variable = variable_name(field.name);
        const std::string text = environment(variable.c_str());
        if (text.empty()) continue;
        if (!field.set && !field.set_list)
            return make_error(ErrorCode::kInvalidArgument,
                              variable + ": " + field.name + " can only be set in the file");
        field.origin = variable;
        if (field.set_list)
            field.set_list(split_commas(text));
        else if (auto set = field.set(text); !set)
            return field_error(variable, field.name, set.error());
    }
    return {};
}

Result<void> Options::check_all() const {
    for (const auto& check : checks_)
        if (auto ok = check(); !ok) return ok;
    return {};
}

std::string Options::print() const {
    std::string out = "# " + program_ + " " + version() + "\n";
    for (const Field& field : fields_) {
        const std::string value = field.get();
        std::string line = field.read_entry ? "# " + field.name + ": a list, see the file"
                                            : field.name + ": " + value;
        line.resize(std::max<std::size_t>(line.size(), 44), ' ');
        out += line + "  # " + (field.origin.empty() ? "default" : field.origin) + "\n";
    }
    return out;
}

std::string Options::reference() const {
    std::string out =
        "| setting | flag | variable | kind | default | meaning |\n"
        "| --- | --- | --- | --- | --- | --- |\n";
    for (const Field& field : fields_) {
        const bool flag = !field.is_secret && !field.read_entry;
        out += "| `" + field.name + "` | " + (flag ? "`" + flag_name(field.name) + "`" : "-") +
               " | " + (field.read_entry ? "-" : "`" + variable_name(field.name) + "`") + " | " +
               field.kind + " | `" + field.get() + "` | " + field.help + " |\n";
    }
    return out;
}

int Options::parse(int argc, const char* const* argv) {
    CLI::App app(about_, program_);
    std::string config_path;
    bool check_only = false, print_only = false;
    app.set_version_flag("--version", program_ + " " + version() + " (" + revision() + ")");
    app.add_option("--config", config_path, "YAML file with any of the settings below");
    app.add_flag("--check", check_only, "Check the settings and exit: 0 good, 2 bad");
    app.add_flag("--print-config", print_only, "Print every setting and where it came from");
    std::map<std::string, std::vector<std::string>> flags;
    std::map<std::string, CLI::Option*> given;
    for (const Field& field : fields_) {
        if (field.is_secret || field.read_entry) continue;
        auto* option = app.add_option(flag_name(field.name), flags[field.name],
                                      field.help + " [" + field.get() + "]");
        option->type_name("(" + field.kind + ")");
        if (field.is_bool) option->expected(0, 1);
        if (field.set) option->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
        if (field.set_list) option->allow_extra_args(false)->expected(1, 1000);
        given[field.name] = option;
    }
    std::string footer =
        "Every setting is also a YAML key (the flag's name with _ for -) and a "
        "variable (HEARTH_ and the key in capitals).\nA flag wins over a variable, "
        "a variable over the file.\n\nExamples:\n";
    for (const std::string& example : examples_) footer += "  " + example + "\n";
    app.footer(footer);
    try {
        app.parse(argc, argv);
    } catch (const CLI::ParseError& e) {
        return app.exit(e) == 0 ? 0 : 2;
    }
    const auto load = [&]() -> Result<void> {
        if (!config_path.empty()) {
            auto text = read_file(config_path);
            if (!text) return text.error();
            if (auto ok = load_yaml(*text, config_path); !ok) return ok;
        }
        if (auto ok = load_environment(); !ok) return ok;
        for (const auto& [name, option] : given) {
            if (option->count() == 0) continue;
            if (auto ok = set_from_flag(*find(name), flags[name]); !ok) return ok;
        }
        return print_only ? Result<void>() : check_all();
    };
    if (auto loaded = load(); !loaded) {
        std::fprintf(stderr, "%s: %s\n", program_.c_str(), loaded.error().message.c_str());
        return 2;
    }
    if (print_only) std::printf("%s", print().c_str());
    if (check_only) std::printf("%s: the settings are good\n", program_.c_str());
    return print_only || check_only ? 0 : -1;
}

Result<void> Options::set_from_flag(Field& field, const std::vector<std::string>& values) {
    const std::string flag = flag_name(field.name);
    field.origin = flag;
    if (field.set_list) {
        field.set_list(values);
        return {};
    }
    const bool bare = values.empty() || (field.is_bool && values.back().empty());
    auto set = field.set(bare ? "true" : values.back());
    if (!set) return make_error(set.error().code, flag + ": " + set.error().message);
    return {};
}

}  // namespace hearth
