// SchemaReader: a JSON Schema of a client as a grammar of the texts that are valid by it.
#pragma once

#include <boost/json/value.hpp>
#include <cstdint>
#include <optional>
#include <string>

#include "cachenode/api/api_error.h"
#include "engine/text/json_grammar.h"

namespace hearth {

constexpr std::int32_t kSchemaHeightMax = 24;             // Values in each other.
constexpr std::size_t kSchemaShapesMax = 4096;            // Schemas in a grammar.
constexpr std::size_t kSchemaLiteralBytesMax = 32 << 10;  // Keys, enum and const together.
constexpr std::int64_t kSchemaItemsMax = 1 << 20;         // minItems and maxItems.

// Adds to `grammar` what `schema` asks for and sets `shape`. Every text of the grammar is valid by
// the schema; the grammar is narrower where JSON leaves a choice that nobody needs: keys come in
// the order of `properties`, and there are no others. The keywords are those of docs/api.md; any
// other is a 400 whose param is `path` and the way to it. Pure.
std::optional<ApiError> read_schema(const boost::json::value& schema, const std::string& path,
                                    engine::JsonGrammar& grammar, std::int32_t& shape);

}  // namespace hearth
