// Field: one setting of Options: its name, help, and how text becomes its value and back.
#pragma once

#include "common/config/options.h"

namespace hearth {

// A value in double quotes, as YAML writes it.
std::string in_quotes(const std::string& text);

std::string flag_name(const std::string& name);      // "--log-level" of "log_level"
std::string variable_name(const std::string& name);  // "HEARTH_LOG_LEVEL"

// How a scalar is set from text (checked against its limits) and printed.
struct Access {
    std::function<Result<void>(const std::string&)> set;
    std::function<std::string()> get;
};

Access string_access(std::string& place);
Access choice_access(std::string& place, std::vector<std::string> choices);
Access bool_access(bool& place);
Access integer_access(std::int64_t& place, std::int64_t min, std::int64_t max);
Access number_access(double& place, double min, double max);
Access bytes_access(std::int64_t& place);
Access duration_access(std::int64_t& place);

// Exactly one of set, set_list and read_entry is there.
struct Options::Field {
    std::string name, help, kind;
    std::function<Result<void>(const std::string&)> set;
    std::function<void(std::vector<std::string>)> set_list;
    std::function<Result<void>(const std::map<std::string, std::string>&)> read_entry;
    std::function<std::string()> get;
    bool is_bool = false, is_secret = false;
    std::string twin;     // The other of a secret and its file: only one of them may be set.
    std::string entries;  // Of a list of maps: how many, and a digest of what they say.
    std::string origin;   // "file:line:column", a variable or a flag; empty = default.

    static Field scalar(const std::string& name, const std::string& help, const std::string& kind,
                        Access access);
};

}  // namespace hearth
