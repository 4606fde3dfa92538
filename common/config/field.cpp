// How each kind of setting is read and printed.
#include "common/config/field.h"

#include <charconv>
#include <cstdio>

#include "common/config/values.h"

namespace hearth {
namespace {

// Wraps a parser: on success the value is stored.
template <typename T, typename Parse>
std::function<Result<void>(const std::string&)> setter(T& place, Parse parse) {
    return [&place, parse](const std::string& text) -> Result<void> {
        auto value = parse(text);
        if (!value) return value.error();
        place = std::move(*value);
        return {};
    };
}

// The shortest text that reads back as the same number.
std::string plain(double value) {
    char text[32];
    return std::string(text, std::to_chars(text, text + sizeof(text), value).ptr);
}

template <typename T>
Result<T> within(const std::string& text, T value, T min, T max, const std::string& range) {
    if (value < min || value > max)
        return make_error(ErrorCode::kInvalidArgument, "must be " + range + ", is " + text);
    return value;
}

}  // namespace

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

std::string in_quotes(const std::string& text) {
    std::string out = "\"";
    for (const char c : text) {
        const auto byte = static_cast<unsigned char>(c);
        if (byte >= 0x20 && byte != 0x7f) {
            if (c == '"' || c == '\\') out += '\\';
            out += c;
        } else if (c == '\n') {
            out += "\\n";
        } else {  // Raw, these would steer a terminal, or be read back as something else.
            char escape[8];
            std::snprintf(escape, sizeof(escape), "\\x%02x", byte);
            out += escape;
        }
    }
    return out + "\"";
}

Access string_access(std::string& place) {
    const auto parse = [](const std::string& text) { return Result<std::string>(text); };
    return {setter(place, parse), [&place] { return in_quotes(place); }};
}

Access choice_access(std::string& place, std::vector<std::string> choices) {
    const auto parse = [choices](const std::string& text) -> Result<std::string> {
        std::string list;
        for (const std::string& choice : choices) {
            if (text == choice) return text;
            list += (list.empty() ? "" : ", ") + choice;
        }
        return make_error(ErrorCode::kInvalidArgument, "'" + text + "' is not one of " + list);
    };
    return {setter(place, parse), [&place] { return in_quotes(place); }};
}

Access bool_access(bool& place) {
    return {setter(place, parse_bool), [&place] { return std::string(place ? "true" : "false"); }};
}

Access integer_access(std::int64_t& place, std::int64_t min, std::int64_t max) {
    const std::string range = "from " + std::to_string(min) + " to " + std::to_string(max);
    const auto parse = [min, max, range](const std::string& text) -> Result<std::int64_t> {
        auto value = parse_integer(text);
        if (!value) return value;
        return within(text, *value, min, max, range);
    };
    return {setter(place, parse), [&place] { return std::to_string(place); }};
}

Access number_access(double& place, double min, double max) {
    const std::string range = "from " + plain(min) + " to " + plain(max);
    const auto parse = [min, max, range](const std::string& text) -> Result<double> {
        auto value = parse_number(text);
        if (!value) return value;
        return within(text, *value, min, max, range);
    };
    return {setter(place, parse), [&place] { return plain(place); }};
}

Access bytes_access(std::int64_t& place) {
    return {setter(place, parse_bytes), [&place] { return format_bytes(place); }};
}

Access duration_access(std::int64_t& place) {
    return {setter(place, parse_duration_ms), [&place] { return format_duration_ms(place); }};
}

Options::Field Options::Field::scalar(const std::string& name, const std::string& help,
                                      const std::string& kind, Access access) {
    Field field;
    field.name = name;
    field.help = help;
    field.kind = kind;
    field.set = std::move(access.set);
    field.get = std::move(access.get);
    return field;
}

}  // namespace hearth
