// json_text: JSON as people and scripts read it: 0.25 and 536870912, not 2.5E-1 and 5.36870912E8.
#pragma once

#include <boost/json/value.hpp>
#include <string>

namespace hearth {

// On one line. A number has the fewest digits that read back as the same double, and no exponent
// while it is a whole one below 2^53; what is no number (NaN, infinity) is null.
std::string json_text(const boost::json::value& value);

}  // namespace hearth
