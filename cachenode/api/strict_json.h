// Strict JSON: one document, UTF-8, bounded depth, no key twice. What the API accepts as a body.
#pragma once

#include <boost/json/value.hpp>
#include <string>
#include <string_view>

#include "common/base/result.h"

namespace hearth {

constexpr std::size_t kJsonDepthMax = 32;

// kInvalidArgument says what is wrong and at which byte. Two readers of a document with a repeated
// key may see different values (RFC 8259 §4), so a router and a node could disagree: refused.
Result<boost::json::value> parse_strict_json(std::string_view text);

// `text` with every ill-formed part replaced by U+FFFD: what may go into a JSON string.
std::string to_valid_utf8(std::string_view text);

}  // namespace hearth
