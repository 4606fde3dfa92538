// Strict JSON: one document, UTF-8, bounded depth and counts, no key twice. What a body may be.
#pragma once

#include <boost/json/value.hpp>
#include <string>
#include <string_view>

#include "common/base/result.h"

namespace hearth {

// Far beyond any turn (logit_bias may name 1024 tokens, a message makes 3 to 7 values), and small
// enough that no body keeps the loop: each value, member and container costs time and memory far
// above its bytes.
constexpr std::size_t kJsonDepthMax = 32;
constexpr std::size_t kJsonMembersMax = 2048;          // Of one object.
constexpr std::size_t kJsonContainersMax = 128 << 10;  // Objects and arrays of a document.
constexpr std::size_t kJsonValuesMax = 1 << 20;        // Those, and texts, numbers and the like.

// Linear in the text but for the keys of an object, which are sorted. kTooLarge names the count
// that is passed, and kInvalidArgument says what is wrong and at which byte. Two readers of a
// document with a repeated key may see different values (RFC 8259 §4), so a router and a node could
// disagree: refused.
Result<boost::json::value> parse_strict_json(std::string_view text);

// `text` with every ill-formed part replaced by U+FFFD: what may go into a JSON string.
std::string to_valid_utf8(std::string_view text);

}  // namespace hearth
