// response_format: which kind, and the schema of the one that has one.
#include "cachenode/api/response_format.h"

#include <algorithm>
#include <boost/json/object.hpp>

#include "cachenode/api/schema_reader.h"

namespace hearth {

namespace json = boost::json;

namespace {

constexpr std::size_t kNameBytesMax = 64;

bool is_name(std::string_view text) {
    constexpr std::string_view kAllowed =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-";
    return !text.empty() && text.size() <= kNameBytesMax &&
           text.find_first_not_of(kAllowed) == std::string_view::npos;
}

void read_json_schema(FieldReader& reader, const json::value& value, const std::string& path,
                      std::optional<engine::JsonGrammar>& out) {
    if (!value.is_object()) return reader.fail_type(path, "an object");
    FieldReader fields(value.get_object(), path + ".");
    std::string name, description;
    bool strict = true;
    if (!fields.read("name", name))
        fields.fail("name", "missing_required_parameter", "is missing");
    else if (!is_name(name))
        fields.fail("name", "invalid_value", "must be 1 to 64 letters, digits, '_' or '-'");
    fields.read("description", description);
    fields.read("strict", strict);
    const json::value* schema = fields.find("schema");
    if (schema == nullptr) fields.fail("schema", "missing_required_parameter", "is missing");
    reader.take(fields.error());
    if (!reader.ok()) return;
    engine::JsonGrammar grammar;
    std::int32_t shape = engine::JsonGrammar::kAny;
    reader.take(read_schema(*schema, path + ".schema", grammar, shape));
    grammar.set_root(shape);
    out = std::move(grammar);
}

}  // namespace

void read_format(FieldReader& reader, const json::value& format, const std::string& path,
                 std::string_view nested, std::optional<engine::JsonGrammar>& out) {
    if (!format.is_object()) return reader.fail_type(path, "an object");
    const json::object& fields = format.get_object();
    const json::value* type = fields.if_contains("type");
    if (type == nullptr || !type->is_string())
        return reader.fail(path + ".type", "missing_required_parameter", "is missing");
    const json::string& kind = type->get_string();
    if (kind == "text") return;
    if (kind == "json_object") {
        out.emplace();
        return out->set_root(engine::JsonGrammar::kFreeObject);
    }
    if (kind != "json_schema")
        return reader.fail(path + ".type", "invalid_value",
                           "must be 'text', 'json_object' or 'json_schema'");
    if (nested.empty()) return read_json_schema(reader, format, path, out);
    const std::string inner = path + "." + std::string(nested);
    const json::value* schema = fields.if_contains({nested.data(), nested.size()});
    if (schema == nullptr) return reader.fail(inner, "missing_required_parameter", "is missing");
    read_json_schema(reader, *schema, inner, out);
}

void read_response_format(FieldReader& reader, std::optional<engine::JsonGrammar>& out) {
    const json::value* format = reader.find("response_format");
    if (format != nullptr) read_format(reader, *format, "response_format", "json_schema", out);
}

}  // namespace hearth
