// response_format: text, json_object or json_schema, as the grammar that a reply is bound to.
#pragma once

#include <optional>

#include "cachenode/api/field_reader.h"
#include "engine/text/json_grammar.h"

namespace hearth {

// Pure. Nothing in `out` for text and for no format; a failure is left in the reader.
void read_response_format(FieldReader& reader, std::optional<engine::JsonGrammar>& out);

// The same of one format: {"type", ...}, and for json_schema the fields "name", "schema", "strict"
// and "description" in `nested` or, if that is empty, in the format itself (as /v1/responses has
// it). `path` is the format's own name.
void read_format(FieldReader& reader, const boost::json::value& format, const std::string& path,
                 std::string_view nested, std::optional<engine::JsonGrammar>& out);

}  // namespace hearth
