// FieldReader: typed, range-checked reads of one JSON object's fields; the first failure is kept.
#pragma once

#include <boost/json/object.hpp>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "cachenode/api/api_error.h"

namespace hearth {

// Stack object of one parse. After the first failure every further read does nothing, so a caller
// reads all fields in a row and looks at error() once. A field that is absent or null reads as
// "keep the default" and returns false.
class FieldReader {
  public:
    // `prefix` names the object in `param`: "" for the body, "stream_options." below it.
    explicit FieldReader(const boost::json::object& object, std::string prefix = {})
        : object_(object), prefix_(std::move(prefix)) {}

    bool read(std::string_view name, double min, double max, float& place);
    bool read(std::string_view name, std::int64_t min, std::int64_t max, std::int64_t& place);
    bool read(std::string_view name, bool& place);
    bool read(std::string_view name, std::string& place);

    // `name` outlives the reader, here and in read(). The field's value, or null when it is absent,
    // null, or an earlier read failed.
    const boost::json::value* find(std::string_view name) const;

    // Names of the fields that nobody asked for; of meaning once everything was read.
    std::vector<std::string_view> unasked() const;

    // Records a 400 about `name` unless one is recorded.
    void fail(std::string_view name, std::string code, std::string message);
    void fail_type(std::string_view name, std::string_view wanted);
    void take(std::optional<ApiError> error);  // Of a nested reader.

    bool ok() const { return !error_.has_value(); }
    const std::optional<ApiError>& error() const { return error_; }

  private:
    const boost::json::object& object_;
    std::string prefix_;
    std::optional<ApiError> error_;
    mutable std::vector<std::string_view> asked_;
};

// An integer, also when it is written 3.0 or 3e0; nothing for other kinds or beyond 64 bits.
std::optional<std::int64_t> integer_of(const boost::json::value& value);
// A finite number.
std::optional<double> number_of(const boost::json::value& value);

}  // namespace hearth
