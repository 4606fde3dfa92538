// FieldReader: how a JSON value becomes a number, a flag or a text, and what is said when it
// cannot.
#include "cachenode/api/field_reader.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

namespace hearth {

namespace json = boost::json;

namespace {

std::string shown(double value) {
    char text[32];
    std::snprintf(text, sizeof text, "%g", value);
    return text;
}

}  // namespace

std::optional<std::int64_t> integer_of(const json::value& value) {
    if (value.is_int64()) return value.get_int64();
    if (!value.is_double()) return std::nullopt;  // uint64 is used only beyond int64.
    const double number = value.get_double();
    if (!(std::fabs(number) < 0x1p62) || std::floor(number) != number) return std::nullopt;
    return static_cast<std::int64_t>(number);
}

std::optional<double> number_of(const json::value& value) {
    double number = 0.0;
    if (value.is_int64()) {
        number = static_cast<double>(value.get_int64());
    } else if (value.is_uint64()) {
        number = static_cast<double>(value.get_uint64());
    } else if (value.is_double()) {
        number = value.get_double();
    } else {
        return std::nullopt;
    }
    if (!std::isfinite(number)) return std::nullopt;
    return number;
}

const json::value* FieldReader::find(std::string_view name) const {
    if (error_) return nullptr;
    asked_.push_back(name);
    const json::value* value = object_.if_contains({name.data(), name.size()});
    return value == nullptr || value->is_null() ? nullptr : value;
}

bool FieldReader::read(std::string_view name, double min, double max, float& place) {
    const json::value* value = find(name);
    if (value == nullptr) return false;
    const std::optional<double> number = number_of(*value);
    if (!number) {
        fail_type(name, "a number");
    } else if (*number < min || *number > max) {
        fail(name, "invalid_value",
             "must be between " + shown(min) + " and " + shown(max) + ", got " + shown(*number));
    } else {
        place = static_cast<float>(*number);
    }
    return ok();
}

bool FieldReader::read(std::string_view name, std::int64_t min, std::int64_t max,
                       std::int64_t& place) {
    const json::value* value = find(name);
    if (value == nullptr) return false;
    const std::optional<std::int64_t> number = integer_of(*value);
    if (!number && !number_of(*value)) {
        fail_type(name, "an integer");
    } else if (!number || *number < min || *number > max) {
        fail(name, "invalid_value",
             "must be an integer between " + std::to_string(min) + " and " + std::to_string(max));
    } else {
        place = *number;
    }
    return ok();
}

bool FieldReader::read(std::string_view name, bool& place) {
    const json::value* value = find(name);
    if (value == nullptr) return false;
    if (value->is_bool()) {
        place = value->get_bool();
    } else {
        fail_type(name, "true or false");
    }
    return ok();
}

bool FieldReader::read(std::string_view name, std::string& place) {
    const json::value* value = find(name);
    if (value == nullptr) return false;
    if (value->is_string()) {
        place.assign(value->get_string().data(), value->get_string().size());
    } else {
        fail_type(name, "a string");
    }
    return ok();
}

std::vector<std::string_view> FieldReader::unasked() const {
    std::vector<std::string_view> out;
    for (const auto& [key, value] : object_) {
        const std::string_view name(key.data(), key.size());
        if (std::find(asked_.begin(), asked_.end(), name) == asked_.end()) out.push_back(name);
    }
    return out;
}

void FieldReader::fail(std::string_view name, std::string code, std::string message) {
    if (error_) return;
    const std::string param = prefix_ + std::string(name);
    error_ = invalid_field(param, std::move(code), "'" + param + "' " + std::move(message) + ".");
}

void FieldReader::fail_type(std::string_view name, std::string_view wanted) {
    fail(name, "invalid_type", "must be " + std::string(wanted));
}

void FieldReader::take(std::optional<ApiError> error) {
    if (!error_) error_ = std::move(error);
}

}  // namespace hearth
