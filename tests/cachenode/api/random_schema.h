// Random schemas of the subset, and a validator that shares nothing with the grammar.
#pragma once

#include <boost/json/value.hpp>
#include <string>

#include "common/base/rng.h"

namespace hearth::testing {

boost::json::value random_schema(Rng& rng, int depth);

// Empty if `value` is valid by `schema` (JSON Schema 2020-12, the keywords of random_schema());
// else why not.
std::string why_invalid(const boost::json::value& schema, const boost::json::value& value);

}  // namespace hearth::testing
