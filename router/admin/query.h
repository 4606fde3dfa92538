// Query: the part of a target after '?', read strictly. Pure.
#pragma once

#include <initializer_list>
#include <map>
#include <string>
#include <string_view>

#include "common/base/result.h"

namespace hearth {

// Percent-escapes and '+' resolved. kInvalidArgument for a broken escape.
Result<std::string> percent_decoded(std::string_view text);

// kInvalidArgument names a parameter that is unknown or given twice.
Result<std::map<std::string, std::string>> parse_query(
    std::string_view query, std::initializer_list<std::string_view> known);

}  // namespace hearth
