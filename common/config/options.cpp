// Options: one table of fields, filled from a YAML file, the environment and flags, in that order.
#include "common/config/options.h"

#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/yaml.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <fstream>
#include <memory>
#include <set>
#include <sstream>

#include "common/config/environment.h"
#include "common/config/field.h"
#include "common/config/values.h"
#include "common/config/version.h"

namespace hearth {
namespace {

constexpr std::size_t kFileBytesMax = 1 << 20;

// "file:line:column" of a node, counted from 1.
std::string place_of(const std::string& file, const YAML::Mark& mark) {
    if (mark.is_null()) return file;
    return file + ":" + std::to_string(mark.line + 1) + ":" + std::to_string(mark.column + 1);
}

Error field_error(const std::string& where, const std::string& name, const Error& error) {
    // A flag or a variable is the name already.
    const bool named = where == flag_name(name) || where == variable_name(name);
    return make_error(error.code, where + (named ? "" : ": " + name) + ": " + error.message);
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
    // A folder opens like a file and fails here.
    if (in.bad() || (in.fail() && !in.eof()))
        return make_error(ErrorCode::kNotFound, path + ": cannot be read");
    text.resize(static_cast<std::size_t>(in.gcount()));
    if (text.size() > kFileBytesMax)
        return make_error(ErrorCode::kTooLarge, path + ": larger than 1 MiB");
    return text;
}

// Notes where the root of the current document is, and nothing else.
class RootMark final : public YAML::EventHandler {
  public:
    std::optional<YAML::Mark> mark;

    void OnDocumentStart(const YAML::Mark&) override { mark.reset(); }
    void OnDocumentEnd() override {}
    void OnNull(const YAML::Mark& at, YAML::anchor_t) override { note(at); }
    void OnAlias(const YAML::Mark& at, YAML::anchor_t) override { note(at); }
    void OnScalar(const YAML::Mark& at, const std::string&, YAML::anchor_t,
                  const std::string&) override {
        note(at);
    }
    void OnSequenceStart(const YAML::Mark& at, const std::string&, YAML::anchor_t,
                         YAML::EmitterStyle::value) override {
        note(at);
    }
    void OnSequenceEnd() override {}
    void OnMapStart(const YAML::Mark& at, const std::string&, YAML::anchor_t,
                    YAML::EmitterStyle::value) override {
        note(at);
    }
    void OnMapEnd() override {}

  private:
    void note(const YAML::Mark& at) {
        if (!mark) mark = at;
    }
};

// Where a second document begins. Not LoadAll(): yaml-cpp 0.7 finds endless documents in ",a".
std::optional<YAML::Mark> second_document(const std::string& text) {
    std::istringstream in(text);
    YAML::Parser parser(in);
    RootMark root;
    if (!parser.HandleNextDocument(root) || !parser.HandleNextDocument(root)) return std::nullopt;
    return root.mark.value_or(YAML::Mark());
}

// A scalar, or a list of scalars with one in each line.
Result<std::string> entry_text(const YAML::Node& value) {
    if (value.IsScalar()) return value.Scalar();
    const Error bad =
        make_error(ErrorCode::kInvalidArgument, "each value must be a scalar or a list of scalars");
    if (!value.IsSequence()) return bad;
    std::string text;
    for (const YAML::Node& item : value) {
        if (!item.IsScalar() || item.Scalar().find('\n') != std::string::npos) return bad;
        text += item.Scalar() + "\n";
    }
    return text;
}

// One entry of a list of maps, as text.
Result<std::map<std::string, std::string>> entry_fields(const YAML::Node& entry) {
    if (!entry.IsMap()) return make_error(ErrorCode::kInvalidArgument, "each entry must be a map");
    std::map<std::string, std::string> fields;
    for (const auto& pair : entry) {
        if (!pair.first.IsScalar())
            return make_error(ErrorCode::kInvalidArgument, "each name must be text");
        auto text = entry_text(pair.second);
        if (!text) return text.error();
        if (!fields.emplace(pair.first.Scalar(), std::move(*text)).second)
            return make_error(ErrorCode::kInvalidArgument, pair.first.Scalar() + ": set twice");
    }
    return fields;
}

}  // namespace

Options::Options(std::string program, std::string about, std::vector<std::string> examples)
    : program_(std::move(program)), about_(std::move(about)), examples_(std::move(examples)) {
    fields_.push_back(Field::scalar("log_level", "Least level that is logged",
                                    "debug, info, warn or error",
                                    choice_access(log_level_, {"debug", "info", "warn", "error"})));
    add("log_json", log_json_, "Log lines as JSON objects");
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
        for (const std::string& each : place)
            text += (text.size() > 1 ? ", " : "") + in_quotes(each);
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
    field.twin = name + "_file";
    field.get = [&place] { return std::string(place.empty() ? "\"\"" : "\"<hidden>\""); };
    fields_.push_back(std::move(field));
    Field file = Field::scalar(name + "_file", "File that holds " + name, "path", {});
    file.twin = name;
    const auto path_read = std::make_shared<std::string>();
    file.get = [path_read] { return in_quotes(*path_read); };
    file.set = [&place, path_read](const std::string& path) -> Result<void> {
        auto text = read_file(path);
        if (!text) return text.error();
        while (!text->empty() && (text->back() == '\n' || text->back() == '\r')) text->pop_back();
        place = *text;
        *path_read = path;
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
        if (const auto second = second_document(text))
            return make_error(ErrorCode::kInvalidArgument,
                              place_of(file_name, *second) + ": a second document");
        root = YAML::Load(text);
    } catch (const YAML::Exception& e) {
        return make_error(ErrorCode::kInvalidArgument, place_of(file_name, e.mark) + ": " + e.msg);
    }
    if (root.IsNull()) return {};
    if (!root.IsMap())
        return make_error(ErrorCode::kInvalidArgument,
                          place_of(file_name, root.Mark()) + ": must be a map of settings");
    std::set<std::string> seen;
    for (const auto& pair : root) {
        const std::string where = place_of(file_name, pair.first.Mark());
        if (!pair.first.IsScalar())
            return make_error(ErrorCode::kInvalidArgument,
                              where + ": a setting's name must be text");
        const std::string name = pair.first.Scalar();
        if (!seen.insert(name).second)
            return make_error(ErrorCode::kInvalidArgument, where + ": " + name + ": set twice");
        if (const Field* field = find(name); field && seen.count(field->twin))
            return make_error(ErrorCode::kInvalidArgument,
                              where + ": " + name + ": " + field->twin + " is set too; keep one");
        if (auto set = set_from_yaml(name, pair.second, file_name, where); !set) return set;
    }
    return {};
}

// Tells one list from another without showing it, as it may hold keys.
static std::string entries_digest(const YAML::Node& list) {
    char text[64];
    std::snprintf(text, sizeof(text), "%zu entries, %08zx", list.size(),
                  std::hash<std::string>()(YAML::Dump(list)) & 0xffffffff);
    return text;
}

Result<void> Options::set_from_yaml(const std::string& name, const YAML::Node& value,
                                    const std::string& file_name, const std::string& where) {
    Field* field = find(name);
    if (!field) {
        std::vector<std::string> names;
        for (const Field& each : fields_) names.push_back(each.name);
        const std::string near(closest(name, names));
        return make_error(ErrorCode::kInvalidArgument,
                          where + ": " + name + ": unknown setting" +
                              (near.empty() ? "" : ", did you mean '" + near + "'?"));
    }
    if (field->set) {
        if (!value.IsScalar())
            return make_error(ErrorCode::kInvalidArgument,
                              where + ": " + name + ": must be one value (" + field->kind + ")");
        return set_field(*field, value.Scalar(), where);
    }
    if (!value.IsSequence())
        return make_error(ErrorCode::kInvalidArgument, where + ": " + name + ": must be a list");
    field->origin = where;
    if (field->read_entry) field->entries = entries_digest(value);
    std::vector<std::string> list;
    for (const YAML::Node& entry : value) {
        const std::string line = place_of(file_name, entry.Mark());
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

Result<void> Options::set_field(Field& field, const std::string& text, const std::string& where) {
    if (auto set = field.set(text); !set) return field_error(where, field.name, set.error());
    field.origin = where;
    if (Field* twin = field.twin.empty() ? nullptr : find(field.twin)) twin->origin.clear();
    return {};
}

Result<void> Options::load_environment() {
    std::set<std::string> seen;
    for (Field& field : fields_) {
        const std::string variable = variable_name(field.name);
        const std::string text = environment(variable.c_str());
        if (text.empty()) continue;
        seen.insert(field.name);
        if (!field.set && !field.set_list)
            return make_error(ErrorCode::kInvalidArgument,
                              variable + ": " + field.name + " can only be set in the file");
        if (seen.count(field.twin))
            return make_error(ErrorCode::kInvalidArgument,
                              variable + ": " + field.twin + " is set too; keep one");
        if (field.set_list) {
            field.set_list(split_commas(text));
            field.origin = variable;
        } else if (auto set = set_field(field, text, variable); !set) {
            return set;
        }
    }
    return {};
}

Result<void> Options::check_all() const {
    for (const auto& check : checks_) {
        auto ok = check();
        if (ok) continue;
        // "name: what is wrong" becomes "file:line:column: name: what is wrong".
        const std::string& message = ok.error().message;
        for (const Field& field : fields_) {
            if (field.origin.empty() || !message.starts_with(field.name + ": ")) continue;
            const std::string rule = message.substr(field.name.size() + 2);
            return field_error(field.origin, field.name, make_error(ok.error().code, rule));
        }
        return ok;
    }
    return {};
}

std::string Options::print() const {
    std::string out = "# " + program_ + " " + version() + "\n";
    for (const Field& field : fields_) {
        const std::string value = field.read_entry ? "a list, see the file" : field.get();
        // What is printed can be loaded again: no secret, and not both ways to set one.
        const bool unset_file = !field.twin.empty() && field.origin.empty();
        const bool comment = field.read_entry || field.is_secret || unset_file;
        std::string line = (comment ? "# " : "") + field.name + ": " + value;
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

// The flags of one command line, and what they were given.
struct Options::CommandLine {
    CommandLine(const std::string& about, const std::string& program) : app(about, program) {}

    CLI::App app;
    std::string config_path;
    bool check = false, print = false;
    std::map<std::string, std::vector<std::string>> values;  // By setting.
    std::map<std::string, CLI::Option*> flags;
};

void Options::declare_flags(CommandLine& line) {
    CLI::App& app = line.app;
    app.set_version_flag("--version", program_ + " " + version() + " (" + revision() + ")");
    app.add_option("--config", line.config_path, "YAML file with any of the settings below");
    app.add_flag("--check", line.check, "Check the settings and exit: 0 good, 2 bad");
    app.add_flag("--print-config", line.print, "Print every setting and where it came from");
    for (const Field& field : fields_) {
        if (field.is_secret || field.read_entry) continue;
        auto* flag = app.add_option(flag_name(field.name), line.values[field.name],
                                    field.help + " [" + field.get() + "]");
        flag->type_name("(" + field.kind + ")");
        // One value each: the word behind it is not a second one.
        if (field.set) flag->allow_extra_args(false)->expected(field.is_bool ? 0 : 1, 1);
        if (field.set) flag->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
        if (field.set_list) flag->allow_extra_args(false)->expected(1, 1000);
        line.flags[field.name] = flag;
    }
    std::string footer =
        "Every setting is also a YAML key (the flag's name with _ for -) and a "
        "variable (HEARTH_ and the key in capitals).\nA flag wins over a variable, "
        "a variable over the file. Secrets have no flag: use the variable or the file.\n\n"
        "Examples:\n";
    for (const std::string& example : examples_) footer += "  " + example + "\n";
    app.footer(footer);
    app.allow_extras();  // unknown_argument() has a better word for them.
}

Error Options::unknown_argument(const CommandLine& line, const std::string& argument) const {
    if (!argument.starts_with("-"))
        return make_error(ErrorCode::kInvalidArgument, "unexpected argument '" + argument + "'");
    const std::string flag = argument.substr(0, argument.find('='));
    for (const Field& field : fields_)
        if (field.is_secret && flag == flag_name(field.name))
            return make_error(ErrorCode::kInvalidArgument,
                              "a secret is not a flag, which other users can see: set " +
                                  variable_name(field.name) + " or " + flag + "-file");
    std::vector<std::string> names = {"--config", "--check", "--print-config", "--version",
                                      "--help"};
    for (const auto& [name, option] : line.flags) names.push_back(flag_name(name));
    const std::string near(closest(flag, names));
    return make_error(
        ErrorCode::kInvalidArgument,
        "unknown flag " + flag + (near.empty() ? "; see --help" : ", did you mean " + near + "?"));
}

Result<void> Options::load(const CommandLine& line) {
    if (const auto extras = line.app.remaining(); !extras.empty())
        return unknown_argument(line, extras.front());
    if (!line.config_path.empty()) {
        auto text = read_file(line.config_path);
        if (!text) return text.error();
        if (auto ok = load_yaml(*text, line.config_path); !ok) return ok;
    }
    if (auto ok = load_environment(); !ok) return ok;
    for (const auto& [name, flag] : line.flags) {
        if (flag->count() == 0) continue;
        if (auto ok = set_from_flag(*find(name), line.values.at(name)); !ok) return ok;
    }
    return {};
}

Result<void> Options::read(int argc, const char* const* argv) {
    CommandLine line(about_, program_);
    declare_flags(line);
    try {
        line.app.parse(argc, argv);
    } catch (const CLI::ParseError& e) {
        return make_error(ErrorCode::kInvalidArgument, e.what());
    }
    if (auto good = load(line); !good) return good;
    return check_all();
}

std::vector<Options::Setting> Options::settings() const {
    std::vector<Setting> all;
    for (const Field& field : fields_) {
        std::string value = field.read_entry ? field.entries : field.get();
        if (field.is_secret) value = field.origin.empty() ? "" : "set";
        all.push_back({field.name, std::move(value), field.origin});
    }
    return all;
}

int Options::finish() const {
    if (std::fflush(stdout) == 0 && std::ferror(stdout) == 0) return 0;
    std::fprintf(stderr, "%s: the output could not be written\n", program_.c_str());
    return 1;
}

int Options::parse(int argc, const char* const* argv) {
    CommandLine line(about_, program_);
    declare_flags(line);
    try {
        line.app.parse(argc, argv);
    } catch (const CLI::Success& e) {  // --help, --version
        line.app.exit(e);
        return finish();
    } catch (const CLI::ParseError& e) {
        std::fprintf(stderr, "%s: %s; see --help\n", program_.c_str(), e.what());
        return 2;
    }
    Result<void> good = load(line);
    if (good && line.print) std::printf("%s", print().c_str());
    if (good) good = check_all();
    if (!good) {
        std::fprintf(stderr, "%s: %s\n", program_.c_str(), good.error().message.c_str());
        return 2;
    }
    if (line.check && !line.print) std::printf("%s: the settings are good\n", program_.c_str());
    return line.print || line.check ? finish() : -1;
}

Result<void> Options::set_from_flag(Field& field, const std::vector<std::string>& values) {
    const std::string flag = flag_name(field.name);
    if (field.set_list) {
        field.set_list(values);
        field.origin = flag;
        return {};
    }
    const bool bare = values.empty() || (field.is_bool && values.back().empty());
    return set_field(field, bare ? "true" : values.back(), flag);
}

}  // namespace hearth
