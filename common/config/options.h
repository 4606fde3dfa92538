// Options: configuration declared once per field, read from file, environment and flags, strict.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "common/base/result.h"

namespace YAML {
class Node;
}

namespace hearth {

// A config struct registers each field once: name, place, help. That gives YAML key `name`, flag
// `--name-with-dashes`, environment variable HEARTH_<NAME> (upper case, dots to underscores), the
// help text, --print-config and --check. Precedence: flag > environment > file > default.
class Options {
  public:
    // program: "hearth-router"; about: first line of --help; examples: lines shown at its end.
    Options(std::string program, std::string about, std::vector<std::string> examples);

    void add(const std::string& name, std::string& place, const std::string& help);
    void add(const std::string& name, bool& place, const std::string& help);
    void add(const std::string& name, std::int64_t& place, std::int64_t min, std::int64_t max,
             const std::string& help);
    void add(const std::string& name, double& place, double min, double max,
             const std::string& help);
    void add(const std::string& name, std::vector<std::string>& place, const std::string& help);
    // Sizes such as 512MiB, 2GiB, 1000000.
    void add_bytes(const std::string& name, std::int64_t& place, const std::string& help);
    // Milliseconds: 250ms, 2s, 5m.
    void add_duration_ms(const std::string& name, std::int64_t& place, const std::string& help);
    // A secret: never a flag nor printed; from the file, the environment, or a file that is named
    // by `<name>_file`.
    void add_secret(const std::string& name, std::string& place, const std::string& help);
    // A YAML list of maps (static upstreams): `read` gets each entry's fields; its error is
    // prefixed with file:line:column. Of a field that is a list of scalars each item is a line,
    // with its
    // '\n'. File only.
    void add_entries(const std::string& name, const std::string& help,
                     std::function<Result<void>(const std::map<std::string, std::string>&)> read);
    // Checked after all values are set; the error names the field.
    void add_check(std::function<Result<void>()> check);

    // Parses argv, file (--config, at most 1 MiB) and environment. Prints and returns an exit code
    // when the program should end now (--help, --version, --check, --print-config: 0, or 1 if
    // stdout cannot be written; usage or config error: 2, with `file:line:column: field: message`
    // on stderr); returns -1 to go on.
    int parse(int argc, const char* const* argv);

    // The same sources in the same order without a word or an end: for reading the settings again
    // while the program serves. The error is what parse() would have printed.
    Result<void> read(int argc, const char* const* argv);

    // For tests and `hearth up`: values from a YAML text. The error names file and line.
    Result<void> load_yaml(const std::string& text, const std::string& file_name);
    // What is in force; of secrets only whether they are set, of lists of maps a digest.
    struct Setting {
        std::string name, value;
        std::string origin;  // "file:line:column", a variable or a flag; empty = default.
    };
    std::vector<Setting> settings() const;
    std::string print() const;      // YAML; each line ends with where its value came from.
    std::string reference() const;  // Markdown table of all fields, for docs/configuration.md.
    std::string manual() const;     // A page for man, section 8; common/config/manual.cpp.

    const std::string& log_level() const { return log_level_; }
    bool log_json() const { return log_json_; }

    ~Options();
    struct Field;  // common/config/field.h

  private:
    struct CommandLine;

    Field* find(const std::string& name);
    Result<void> set_from_yaml(const std::string& name, const YAML::Node& value,
                               const std::string& file_name, const std::string& where);
    Result<void> set_field(Field& field, const std::string& text, const std::string& where);
    void declare_flags(CommandLine& line);
    Error unknown_argument(const CommandLine& line, const std::string& argument) const;
    Result<void> load(const CommandLine& line);
    Result<void> load_environment();
    Result<void> set_from_flag(Field& field, const std::vector<std::string>& values);
    Result<void> check_all() const;
    int finish() const;  // 0, or 1 when what was printed could not be written.

    std::string program_, about_;
    std::vector<std::string> examples_;
    std::vector<Field> fields_;
    std::vector<std::function<Result<void>()>> checks_;
    std::string log_level_ = "info";
    bool log_json_ = false;
};

}  // namespace hearth
