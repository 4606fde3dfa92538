// SchemaReader: one schema at a time, from the inside out; what is not understood is refused.
#include "cachenode/api/schema_reader.h"

#include <algorithm>
#include <array>
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>
#include <charconv>
#include <map>
#include <string_view>
#include <vector>

#include "cachenode/api/field_reader.h"
#include "cachenode/api/strict_json.h"

namespace hearth {

namespace json = boost::json;
using engine::JsonGrammar;

namespace {

constexpr std::int32_t kReadDepthMax = 64;  // Of schemas that are being read, through $ref too.

// Say nothing about what is valid (JSON Schema 2020-12, Meta-Data and Core).
constexpr std::array<std::string_view, 12> kNotes = {
    "title",    "description", "default",  "examples",  "$schema", "$id",
    "$comment", "deprecated",  "readOnly", "writeOnly", "$defs",   "definitions"};

constexpr std::array<std::string_view, 7> kTypes = {"object",  "array",   "string", "number",
                                                    "integer", "boolean", "null"};

std::string_view view_of(const json::string& text) {
    return {text.data(), text.size()};
}

template <typename List>
bool holds(const List& list, std::string_view name) {
    return std::find(list.begin(), list.end(), name) != list.end();
}

// As a reply would spell it; nothing for objects and arrays.
std::optional<std::string> spelled(const json::value& value) {
    if (value.is_object() || value.is_array()) return std::nullopt;
    if (!value.is_double()) return json::serialize(value);
    char text[32];
    const auto end = std::to_chars(text, text + sizeof text, value.get_double());
    return std::string(text, end.ptr);
}

bool is_of(std::string_view type, const json::value& value) {
    if (type == "string") return value.is_string();
    if (type == "boolean") return value.is_bool();
    if (type == "null") return value.is_null();
    if (type == "integer") return integer_of(value).has_value();
    return type == "number" && number_of(value).has_value();
}

class SchemaReader {
  public:
    // What the grammar has of other schemas counts too: a request may come with many.
    SchemaReader(const json::value& root, JsonGrammar& grammar)
        : root_(root),
          grammar_(grammar),
          shapes_(grammar.shapes()),
          literal_bytes_(grammar.text_nodes()) {}

    // A shape and how many values nest in it.
    struct Read {
        std::int32_t shape = JsonGrammar::kAny;
        std::int32_t height = 1;
    };
    Read read(const json::value& schema, const std::string& path);
    std::optional<ApiError> error;

  private:
    Read fail(const std::string& param, std::string code, const std::string& message) {
        if (!error)
            error = invalid_field(param, std::move(code), "'" + param + "' " + message + ".");
        return {};
    }
    Read read_fields(const json::object& schema, const std::string& path);
    bool only(const json::object& schema, const std::string& path,
              std::initializer_list<std::string_view> keywords, std::string_view of);
    bool read_types(const json::object& schema, const std::string& path,
                    std::vector<std::string_view>& types);
    Read read_type(std::string_view type, const json::object& schema, const std::string& path);
    Read read_ref(const json::object& schema, const std::string& path);
    Read read_literals(const json::object& schema, const std::string& path,
                       const std::vector<std::string_view>& types);
    Read read_any_of(const json::object& schema, const std::string& path);
    Read one_of(const std::vector<Read>& choices, const std::string& param);
    Read read_object(const json::object& schema, const std::string& path);
    Read read_array(const json::object& schema, const std::string& path);
    bool read_required(const json::object& schema, const std::string& path,
                       std::vector<JsonGrammar::Member>& members);
    std::int32_t read_count(const json::object& schema, std::string_view name,
                            const std::string& path, std::int32_t absent);
    bool take_bytes(std::size_t bytes, const std::string& param);

    const json::value& root_;
    JsonGrammar& grammar_;
    std::map<std::string, std::optional<Read>, std::less<>>
        named_;  // By $ref; nothing: being read.
    std::size_t shapes_, literal_bytes_;
    std::int32_t depth_ = 0;
};

using Read = SchemaReader::Read;

Read SchemaReader::read(const json::value& schema, const std::string& path) {
    if (error) return {};
    if (schema.is_bool() && schema.get_bool()) return {};
    if (!schema.is_object()) return fail(path, "invalid_type", "must be a schema: an object");
    if (++shapes_ > kSchemaShapesMax)
        return fail(path, "invalid_value", "goes beyond 4096 schemas in one");
    if (depth_ >= kReadDepthMax) return fail(path, "invalid_value", "is nested too deeply");
    ++depth_;
    const Read out = read_fields(schema.get_object(), path);
    --depth_;
    if (out.height > kSchemaHeightMax)
        return fail(path, "invalid_value", "has values nested more than 24 deep");
    return out;
}

Read SchemaReader::read_fields(const json::object& schema, const std::string& path) {
    if (schema.contains("$ref")) return read_ref(schema, path);
    if (schema.contains("anyOf")) return read_any_of(schema, path);
    std::vector<std::string_view> types;
    if (!read_types(schema, path, types)) return {};
    if (schema.contains("enum") || schema.contains("const"))
        return read_literals(schema, path, types);
    if (types.empty() && (schema.contains("properties") || schema.contains("required") ||
                          schema.contains("additionalProperties")))
        types = {"object"};
    if (types.empty() &&
        (schema.contains("items") || schema.contains("minItems") || schema.contains("maxItems")))
        types = {"array"};
    if (types.empty()) {
        only(schema, path, {"type"}, "a schema without a type");
        return {};
    }
    std::vector<Read> choices;
    for (const std::string_view type : types) {
        // What is meant for one of several types says nothing about the others.
        json::object own = schema;
        if (types.size() > 1) {
            for (const std::string_view name : {"properties", "required", "additionalProperties"})
                if (type != "object" && holds(types, "object"))
                    own.erase({name.data(), name.size()});
            for (const std::string_view name : {"items", "minItems", "maxItems"})
                if (type != "array" && holds(types, "array")) own.erase({name.data(), name.size()});
        }
        choices.push_back(read_type(type, own, path));
    }
    return one_of(choices, path + ".type");
}

// Refuses keywords besides these and notes.
bool SchemaReader::only(const json::object& schema, const std::string& path,
                        std::initializer_list<std::string_view> keywords, std::string_view of) {
    for (const auto& [key, value] : schema) {
        const std::string_view name(key.data(), key.size());
        if (holds(kNotes, name) || holds(keywords, name)) continue;
        fail(path + "." + to_valid_utf8(name), "unsupported_parameter",
             "is not supported for " + std::string(of));
        return false;
    }
    return !error;
}

bool SchemaReader::read_types(const json::object& schema, const std::string& path,
                              std::vector<std::string_view>& types) {
    const json::value* type = schema.if_contains("type");
    if (type == nullptr) return true;
    const json::array list = type->is_array() ? type->get_array() : json::array{*type};
    for (const json::value& entry : list) {
        const auto known =
            entry.is_string() ? std::find(kTypes.begin(), kTypes.end(), view_of(entry.get_string()))
                              : kTypes.end();
        if (known == kTypes.end()) {
            fail(path + ".type", "invalid_value",
                 "must be one of object, array, string, number, integer, boolean and null");
            return false;
        }
        if (!holds(types, *known)) types.push_back(*known);
    }
    if (types.empty()) fail(path + ".type", "invalid_value", "must not be empty");
    return !types.empty();
}

Read SchemaReader::read_type(std::string_view type, const json::object& schema,
                             const std::string& path) {
    if (type == "object") return read_object(schema, path);
    if (type == "array") return read_array(schema, path);
    if (!only(schema, path, {"type"}, std::string("type ") + std::string(type))) return {};
    if (type == "string") return {JsonGrammar::kText};
    if (type == "number") return {JsonGrammar::kNumber};
    if (type == "integer") return {JsonGrammar::kInteger};
    return {type == "null" ? JsonGrammar::kNull : JsonGrammar::kBoolean};
}

// "#/$defs/NAME" and "#/definitions/NAME"; a schema that holds itself has no bound.
Read SchemaReader::read_ref(const json::object& schema, const std::string& path) {
    const std::string param = path + ".$ref";
    if (!only(schema, path, {"$ref"}, "$ref")) return {};
    const json::value& ref = schema.at("$ref");
    if (!ref.is_string()) return fail(param, "invalid_type", "must be a string");
    const std::string_view text = view_of(ref.get_string());
    const json::value* found = nullptr;
    for (const std::string_view group : {"$defs", "definitions"}) {
        const std::string front = "#/" + std::string(group) + "/";
        if (!text.starts_with(front) || !root_.is_object()) continue;
        const json::value* list = root_.get_object().if_contains({group.data(), group.size()});
        const std::string_view name = text.substr(front.size());
        if (list != nullptr && list->is_object())
            found = list->get_object().if_contains({name.data(), name.size()});
    }
    if (found == nullptr)
        return fail(param, "invalid_value", "must name a schema of the root's $defs");
    const auto known = named_.find(text);
    if (known != named_.end() && !known->second)
        return fail(param, "unsupported_parameter", "is not supported where it is recursive");
    if (known != named_.end()) return *known->second;
    named_.emplace(text, std::nullopt);
    const Read out = read(*found, path);
    named_.find(text)->second = out;
    return out;
}

Read SchemaReader::read_literals(const json::object& schema, const std::string& path,
                                 const std::vector<std::string_view>& types) {
    const bool is_const = schema.contains("const");
    const std::string param = path + (is_const ? ".const" : ".enum");
    if (!only(schema, path, {"type", is_const ? "const" : "enum"}, is_const ? "const" : "enum"))
        return {};
    const json::value& given = schema.at(is_const ? "const" : "enum");
    if (!is_const && (!given.is_array() || given.get_array().empty()))
        return fail(param, "invalid_type", "must be an array that is not empty");
    std::vector<std::string> texts;
    for (const json::value& value : is_const ? json::array{given} : given.get_array()) {
        auto text = spelled(value);
        if (!text)
            return fail(param, "unsupported_value",
                        "may hold strings, numbers, true, false and null");
        const bool fits = types.empty() || std::any_of(types.begin(), types.end(), [&](auto type) {
                              return is_of(type, value);
                          });
        if (!fits) return fail(param, "invalid_value", "holds a value of another type");
        if (!take_bytes(text->size(), param)) return {};
        texts.push_back(std::move(*text));
    }
    return {grammar_.literals(texts)};
}

Read SchemaReader::read_any_of(const json::object& schema, const std::string& path) {
    const std::string param = path + ".anyOf";
    if (!only(schema, path, {"anyOf"}, "anyOf")) return {};
    const json::value& list = schema.at("anyOf");
    if (!list.is_array() || list.get_array().empty())
        return fail(param, "invalid_type", "must be an array that is not empty");
    std::vector<Read> choices;
    for (std::size_t i = 0; i < list.get_array().size(); ++i)
        choices.push_back(read(list.get_array()[i], param + "[" + std::to_string(i) + "]"));
    return one_of(choices, param);
}

Read SchemaReader::one_of(const std::vector<Read>& choices, const std::string& param) {
    if (error) return {};
    if (choices.size() == 1) return choices.front();
    std::vector<std::int32_t> shapes;
    Read out;
    for (const Read& choice : choices) {
        shapes.push_back(choice.shape);
        out.height = std::max(out.height, choice.height);
    }
    const auto shape = grammar_.one_of(shapes);
    if (!shape)
        return fail(param, "unsupported_value",
                    "must have alternatives that differ in their first character");
    out.shape = *shape;
    return out;
}

Read SchemaReader::read_object(const json::object& schema, const std::string& path) {
    if (!only(schema, path, {"type", "properties", "required", "additionalProperties"},
              "type object"))
        return {};
    const json::value* more = schema.if_contains("additionalProperties");
    if (more != nullptr && !more->is_bool())
        return fail(path + ".additionalProperties", "unsupported_value", "must be true or false");
    const bool is_open = more == nullptr || more->get_bool();
    const json::value* properties = schema.if_contains("properties");
    if (properties == nullptr && is_open && !schema.contains("required"))
        return {JsonGrammar::kFreeObject};
    if (properties != nullptr && !properties->is_object())
        return fail(path + ".properties", "invalid_type", "must be an object");
    if (more != nullptr && more->get_bool())
        return fail(path + ".additionalProperties", "unsupported_value",
                    "must be false where there are properties");
    std::vector<JsonGrammar::Member> members;
    Read out;
    for (const auto& [key, value] : properties ? properties->get_object() : json::object{}) {
        const std::string_view name(key.data(), key.size());
        const Read child = read(value, path + ".properties." + to_valid_utf8(name));
        if (error) return {};
        std::string text = json::serialize(json::string(key));
        if (!take_bytes(text.size(), path + ".properties")) return {};
        members.push_back({std::move(text), child.shape, false});
        out.height = std::max(out.height, child.height + 1);
    }
    if (!read_required(schema, path, members)) return {};
    out.shape = grammar_.record(members);
    return out;
}

bool SchemaReader::read_required(const json::object& schema, const std::string& path,
                                 std::vector<JsonGrammar::Member>& members) {
    const json::value* required = schema.if_contains("required");
    if (required == nullptr) return true;
    const std::string param = path + ".required";
    if (!required->is_array()) {
        fail(param, "invalid_type", "must be an array of names");
        return false;
    }
    for (const json::value& name : required->get_array()) {
        const std::string text = name.is_string() ? json::serialize(name) : std::string();
        const auto found = std::find_if(members.begin(), members.end(),
                                        [&](const auto& member) { return member.key == text; });
        if (found == members.end()) {
            fail(param, "invalid_value", "must hold names of properties");
            return false;
        }
        found->required = true;
    }
    return true;
}

Read SchemaReader::read_array(const json::object& schema, const std::string& path) {
    if (!only(schema, path, {"type", "items", "minItems", "maxItems"}, "type array")) return {};
    Read items;
    if (const json::value* given = schema.if_contains("items"))
        items = read(*given, path + ".items");
    const std::int32_t least = read_count(schema, "minItems", path, 0);
    const std::int32_t most = read_count(schema, "maxItems", path, -1);
    if (error) return {};
    if (most >= 0 && least > most)
        return fail(path + ".minItems", "invalid_value", "must not exceed maxItems");
    return {grammar_.array(items.shape, least, most), items.height + 1};
}

std::int32_t SchemaReader::read_count(const json::object& schema, std::string_view name,
                                      const std::string& path, std::int32_t absent) {
    const json::value* value = schema.if_contains({name.data(), name.size()});
    if (value == nullptr) return absent;
    const auto number = integer_of(*value);
    if (!number || *number < 0 || *number > kSchemaItemsMax) {
        fail(path + "." + std::string(name), "invalid_value",
             "must be an integer between 0 and 1048576");
        return absent;
    }
    return static_cast<std::int32_t>(*number);
}

// Each byte of a key or literal is a node of a tree.
bool SchemaReader::take_bytes(std::size_t bytes, const std::string& param) {
    literal_bytes_ += bytes;
    if (literal_bytes_ <= kSchemaLiteralBytesMax) return true;
    fail(param, "invalid_value", "goes beyond 32768 bytes of names and values in one schema");
    return false;
}

}  // namespace

std::optional<ApiError> read_schema(const json::value& schema, const std::string& path,
                                    JsonGrammar& grammar, std::int32_t& shape) {
    SchemaReader reader(schema, grammar);
    shape = reader.read(schema, path).shape;
    return reader.error;
}

}  // namespace hearth
