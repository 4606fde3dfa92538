// json_text: a walk over a JSON value; Boost writes the strings, we the numbers.
#include "common/wire/json_text.h"

#include <boost/json.hpp>
#include <charconv>
#include <cmath>

namespace hearth {
namespace {

namespace json = boost::json;

constexpr double kWholeMax = 9007199254740992.0;  // 2^53

void append(std::string& out, const json::value& value);

void append(std::string& out, double value) {
    if (!std::isfinite(value)) {
        out += "null";
        return;
    }
    char text[32];
    const bool is_whole = std::abs(value) < kWholeMax && std::trunc(value) == value;
    const auto end = is_whole
                         ? std::to_chars(text, text + sizeof text, value, std::chars_format::fixed)
                         : std::to_chars(text, text + sizeof text, value);
    out.append(text, end.ptr);
}

void append(std::string& out, const json::object& object) {
    out += '{';
    for (bool first = true; const auto& [name, member] : object) {
        if (!first) out += ',';
        first = false;
        out += json::serialize(json::string_view(name)) + ":";
        append(out, member);
    }
    out += '}';
}

void append(std::string& out, const json::value& value) {
    if (value.is_object()) {
        append(out, value.get_object());
    } else if (value.is_array()) {
        out += '[';
        for (bool first = true; const json::value& each : value.get_array()) {
            if (!first) out += ',';
            first = false;
            append(out, each);
        }
        out += ']';
    } else if (value.is_double()) {
        append(out, value.get_double());
    } else {
        out += json::serialize(value);
    }
}

}  // namespace

std::string json_text(const boost::json::value& value) {
    std::string out;
    append(out, value);
    return out;
}

}  // namespace hearth
