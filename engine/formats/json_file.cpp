// Boost.JSON behind Result: its exceptions and error codes end here.
#include "engine/formats/json_file.h"

#include <boost/json/parse.hpp>
#include <cmath>
#include <exception>
#include <limits>
#include <utility>

#include "engine/formats/fault.h"
#include "engine/formats/mapped_file.h"

namespace hearth::engine {

namespace json = boost::json;

Result<json::object> parse_json(std::string_view text, const std::string& file,
                                std::size_t max_bytes) {
    if (text.size() > max_bytes)
        return too_large(file, "JSON of " + std::to_string(text.size()) + " bytes, the limit is " +
                                   std::to_string(max_bytes));
    try {
        json::parse_options options;
        options.max_depth = 32;
        boost::system::error_code code;
        json::value value = json::parse({text.data(), text.size()}, code, {}, options);
        if (code) return corrupt(file, "not valid JSON: " + code.message());
        if (!value.is_object()) return corrupt(file, "not a JSON object");
        return std::move(value.get_object());
    } catch (const std::exception& problem) {  // Out of memory, or a size that Boost refuses.
        return too_large(file, std::string("JSON cannot be held: ") + problem.what());
    }
}

Result<json::object> read_json(const std::string& path, std::size_t max_bytes) {
    const auto file = MappedFile::open(path);
    if (!file) return file.error();
    const auto bytes = file->bytes();
    return parse_json({reinterpret_cast<const char*>(bytes.data()), bytes.size()}, path, max_bytes);
}

const json::value* member(const json::object& object, std::string_view key) {
    const json::value* value = object.if_contains({key.data(), key.size()});
    return value == nullptr || value->is_null() ? nullptr : value;
}

const json::object* object_member(const json::object& object, std::string_view key) {
    const json::value* value = member(object, key);
    return value == nullptr ? nullptr : value->if_object();
}

std::string_view text_member(const json::object& object, std::string_view key) {
    const json::value* value = member(object, key);
    if (value == nullptr || !value->is_string()) return {};
    const json::string& text = value->get_string();
    return {text.data(), text.size()};
}

bool flag_member(const json::object& object, std::string_view key, bool fallback) {
    const json::value* value = member(object, key);
    return value != nullptr && value->is_bool() ? value->get_bool() : fallback;
}

std::optional<std::int32_t> index_of(const json::value& value) {
    if (!value.is_int64()) return std::nullopt;  // Unsigned only above 2^63: out of range too.
    const std::int64_t number = value.get_int64();
    if (number < 0 || number > std::numeric_limits<std::int32_t>::max()) return std::nullopt;
    return static_cast<std::int32_t>(number);
}

void JsonFields::fail(ErrorCode code, const std::string& what) {
    if (!error_) error_ = fault(code, file_, what);
}

std::int32_t JsonFields::size(std::string_view key) {
    if (member(object_, key) == nullptr)
        fail(ErrorCode::kCorrupt, "key " + in_quotes(key) + " is missing");
    return size(key, 0);
}

std::int32_t JsonFields::size(std::string_view key, std::int32_t fallback) {
    const json::value* value = member(object_, key);
    if (value == nullptr) return fallback;
    const auto number = index_of(*value);
    if (!number) fail(ErrorCode::kCorrupt, "key " + in_quotes(key) + " is not an integer in range");
    return number.value_or(fallback);
}

float JsonFields::number(std::string_view key, float fallback) {
    const json::value* value = member(object_, key);
    if (value == nullptr) return fallback;
    boost::system::error_code code;
    const auto number = static_cast<float>(value->to_number<double>(code));
    if (!code && std::isfinite(number)) return number;
    fail(ErrorCode::kCorrupt, "key " + in_quotes(key) + " is not a finite number");
    return fallback;
}

bool JsonFields::flag(std::string_view key, bool fallback) {
    const json::value* value = member(object_, key);
    if (value == nullptr) return fallback;
    if (value->is_bool()) return value->get_bool();
    fail(ErrorCode::kCorrupt, "key " + in_quotes(key) + " is not true or false");
    return fallback;
}

}  // namespace hearth::engine
