// JsonFile: one bounded JSON document on disk, and typed reads that name file and key.
#pragma once

#include <boost/json/object.hpp>
#include <boost/json/value.hpp>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "common/base/result.h"

namespace hearth::engine {

// Parses an object from `text`; `file` is the name for messages. Nesting is limited to 32 levels.
// kCorrupt: not JSON, or not an object. kTooLarge: more than `max_bytes`, or no memory for it.
// Of a key that occurs twice the last one counts (Boost.JSON's rule).
Result<boost::json::object> parse_json(std::string_view text, const std::string& file,
                                       std::size_t max_bytes);
Result<boost::json::object> read_json(const std::string& path, std::size_t max_bytes);

// The member if it is there and not null.
const boost::json::value* member(const boost::json::object& object, std::string_view key);
const boost::json::object* object_member(const boost::json::object& object, std::string_view key);
// The text if it is one, else "".
std::string_view text_member(const boost::json::object& object, std::string_view key);
bool flag_member(const boost::json::object& object, std::string_view key, bool fallback);
// An integer in [0, 2^31), else empty.
std::optional<std::int32_t> index_of(const boost::json::value& value);

// Typed reads of one object. The first failure is kept and later reads return their fallback.
class JsonFields {
  public:
    JsonFields(const boost::json::object& object, std::string file)
        : object_(object), file_(std::move(file)) {}

    std::int32_t size(std::string_view key);  // In [0, 2^31); required.
    std::int32_t size(std::string_view key, std::int32_t fallback);
    float number(std::string_view key, float fallback);
    bool flag(std::string_view key, bool fallback);

    void fail(ErrorCode code, const std::string& what);
    bool failed() const { return error_.has_value(); }
    const Error& error() const { return *error_; }

  private:
    const boost::json::object& object_;
    std::string file_;
    std::optional<Error> error_;
};

}  // namespace hearth::engine
