// Tools of a chat request: read with every range checked, spelled for templates and as a grammar.
#include "cachenode/api/tools.h"

#include <algorithm>
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>

#include "cachenode/api/schema_reader.h"
#include "cachenode/api/strict_json.h"

namespace hearth {

namespace json = boost::json;
using engine::ToolFormat;

namespace {

constexpr std::size_t kToolsMax = 128;
constexpr std::size_t kNameBytesMax = 64;

std::string_view view_of(const json::string& text) {
    return {text.data(), text.size()};
}

std::string indexed(std::string_view name, std::size_t i) {
    return std::string(name) + "[" + std::to_string(i) + "]";
}

bool is_name(std::string_view text) {
    constexpr std::string_view kAllowed =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-";
    return !text.empty() && text.size() <= kNameBytesMax &&
           text.find_first_not_of(kAllowed) == std::string_view::npos;
}

void read_function_name(FieldReader& fields, std::string& out) {
    if (!fields.read("name", out))
        fields.fail("name", "missing_required_parameter", "is missing");
    else if (!is_name(out))
        fields.fail("name", "invalid_value", "must be 1 to 64 letters, digits, '_' or '-'");
}

// The object `key` of `object`; null with a failure when it is absent or something else.
const json::object* object_at(FieldReader& reader, const json::object& object, std::string_view key,
                              const std::string& name) {
    const json::value* value = object.if_contains({key.data(), key.size()});
    if (value != nullptr && value->is_object()) return &value->get_object();
    if (value == nullptr)
        reader.fail(name, "missing_required_parameter", "is missing");
    else
        reader.fail_type(name, "an object");
    return nullptr;
}

bool is_function(FieldReader& reader, const json::object& object, const std::string& name) {
    const json::value* type = object.if_contains("type");
    if (type != nullptr && *type == json::value("function")) return true;
    reader.fail(name + ".type",
                type == nullptr ? "missing_required_parameter" : "unsupported_value",
                type == nullptr ? "is missing" : "must be 'function'; others are not supported");
    return false;
}

void read_tool(FieldReader& reader, const json::value& tool, const std::string& name, bool nested,
               ToolOptions& out) {
    if (!tool.is_object()) return reader.fail_type(name, "an object");
    const json::object& object = tool.get_object();
    if (!is_function(reader, object, name)) return;
    const std::string path = nested ? name + ".function" : name;
    const json::object* function = nested ? object_at(reader, object, "function", path) : &object;
    if (function == nullptr) return;
    FieldReader fields(*function, path + ".");
    std::string own, description;
    bool strict = false;
    read_function_name(fields, own);
    fields.read("description", description);
    fields.read("strict", strict);
    if (const json::value* parameters = fields.find("parameters"))
        if (!parameters->is_object()) fields.fail_type("parameters", "a schema: an object");
    if (std::find(out.names.begin(), out.names.end(), own) != out.names.end())
        fields.fail("name", "invalid_value", "is there twice");
    reader.take(fields.error());
    json::object shown;
    for (const auto& [key, value] : *function)
        if (key != "strict" && key != "type" && !value.is_null()) shown[key] = value;
    out.names.push_back(std::move(own));
    out.functions.push_back(json::object{{"type", "function"}, {"function", std::move(shown)}});
}

void read_choice(FieldReader& reader, bool nested, ToolOptions& out) {
    using Choice = ToolOptions::Choice;
    const json::value* choice = reader.find("tool_choice");
    if (choice == nullptr) return;
    if (*choice == json::value("none")) {
        out.choice = Choice::kNone;
    } else if (*choice == json::value("required")) {
        out.choice = Choice::kRequired;
    } else if (choice->is_object()) {
        const json::object& object = choice->get_object();
        if (!is_function(reader, object, "tool_choice")) return;
        const std::string path = nested ? "tool_choice.function" : "tool_choice";
        const json::object* function =
            nested ? object_at(reader, object, "function", path) : &object;
        if (function == nullptr) return;
        FieldReader fields(*function, path + ".");
        read_function_name(fields, out.named);
        if (fields.ok() &&
            std::find(out.names.begin(), out.names.end(), out.named) == out.names.end())
            fields.fail("name", "invalid_value", "is not the name of one of 'tools'");
        reader.take(fields.error());
        out.choice = Choice::kNamed;
    } else if (*choice != json::value("auto")) {
        reader.fail("tool_choice", "invalid_value",
                    "must be 'none', 'auto', 'required' or a function");
    }
    if (out.must_call() && out.functions.empty())
        reader.fail("tool_choice", "invalid_value", "is only allowed with 'tools'");
}

void add_json(const json::value& value, int indent, int level, std::string& out) {
    const auto line = [&](int depth) {
        if (indent > 0) out += '\n' + std::string(static_cast<std::size_t>(depth * indent), ' ');
    };
    const std::string_view comma = indent > 0 ? "," : ", ";
    if (value.is_object() && !value.get_object().empty()) {
        out += '{';
        bool is_first = true;
        for (const auto& [key, member] : value.get_object()) {
            if (!std::exchange(is_first, false)) out += comma;
            line(level + 1);
            out += engine::json_quoted({key.data(), key.size()}) + ": ";
            add_json(member, indent, level + 1, out);
        }
        line(level);
        out += '}';
    } else if (value.is_array() && !value.get_array().empty()) {
        out += '[';
        for (std::size_t i = 0; i < value.get_array().size(); ++i) {
            if (i > 0) out += comma;
            line(level + 1);
            add_json(value.get_array()[i], indent, level + 1, out);
        }
        line(level);
        out += ']';
    } else if (value.is_string()) {
        out += engine::json_quoted(view_of(value.get_string()));
    } else {
        out += json::serialize(value);
    }
}

}  // namespace

void read_tools(FieldReader& reader, bool nested, ToolOptions& out) {
    const json::value* tools = reader.find("tools");
    if (tools != nullptr && !tools->is_array()) return reader.fail_type("tools", "an array");
    if (tools != nullptr && tools->get_array().size() > kToolsMax)
        return reader.fail("tools", "invalid_value", "must hold at most 128 functions");
    if (tools != nullptr) {
        const json::array& list = tools->get_array();
        for (std::size_t i = 0; i < list.size() && reader.ok(); ++i)
            read_tool(reader, list[i], indexed("tools", i), nested, out);
    }
    read_choice(reader, nested, out);
    out.nested = nested;
    reader.read("parallel_tool_calls", out.parallel);
}

void read_tool_calls(FieldReader& reader, const json::value& calls, const std::string& name,
                     std::vector<engine::ToolCall>& out, std::vector<std::string>& ids) {
    if (!calls.is_array()) return reader.fail_type(name, "an array");
    for (std::size_t i = 0; i < calls.get_array().size() && reader.ok(); ++i) {
        const std::string path = indexed(name, i);
        const json::value& call = calls.get_array()[i];
        if (!call.is_object()) return reader.fail_type(path, "an object");
        FieldReader outer(call.get_object(), path + ".");
        std::string id;
        if (!outer.read("id", id)) outer.fail("id", "missing_required_parameter", "is missing");
        reader.take(outer.error());
        if (!is_function(reader, call.get_object(), path)) return;
        const json::object* function =
            object_at(reader, call.get_object(), "function", path + ".function");
        if (function == nullptr) return;
        FieldReader fields(*function, path + ".function.");
        engine::ToolCall one;
        read_function_name(fields, one.name);
        if (!fields.read("arguments", one.arguments))
            fields.fail("arguments", "missing_required_parameter", "is missing");
        reader.take(fields.error());
        out.push_back(std::move(one));
        ids.push_back(std::move(id));
    }
}

std::optional<ApiError> check_tools(const ToolOptions& tools,
                                    const std::vector<engine::ChatMessage>& messages,
                                    ToolFormat format) {
    if (format != ToolFormat::kNone) return std::nullopt;
    if (!tools.functions.empty())
        return invalid_field("tools", "unsupported_parameter",
                             "'tools' is not supported: this model's chat template has none.");
    for (std::size_t i = 0; i < messages.size(); ++i) {
        const bool is_result = messages[i].role == engine::Role::kTool;
        if (!is_result && messages[i].calls.empty()) continue;
        const std::string name = indexed("messages", i) + (is_result ? ".role" : ".tool_calls");
        return invalid_field(name, "unsupported_value",
                             "'" + name + "' needs tools; this model's chat template has none.");
    }
    return std::nullopt;
}

engine::ChatTools chat_tools(const ToolOptions& tools, ToolFormat format) {
    engine::ChatTools out;
    // Also where none may be called: a prompt that begins otherwise would find none of its KV.
    for (const json::value& function : tools.functions)
        out.functions.push_back(spaced_json(function, format == ToolFormat::kLlama3 ? 4 : 0));
    out.opens_call = tools.must_call();
    return out;
}

std::optional<ApiError> call_grammar(const ToolOptions& tools, ToolFormat format,
                                     engine::JsonGrammar& out) {
    std::vector<engine::JsonGrammar::Framed> fronts;
    for (std::size_t i = 0; i < tools.names.size(); ++i) {
        if (tools.choice == ToolOptions::Choice::kNamed && tools.names[i] != tools.named) continue;
        const json::object& function = tools.functions[i].at("function").as_object();
        std::int32_t shape = engine::JsonGrammar::kFreeObject;
        const json::value* parameters = function.if_contains("parameters");
        if (parameters == nullptr) {
            shape = out.record({});
        } else if (auto error = read_schema(
                       *parameters,
                       indexed("tools", i) + (tools.nested ? ".function" : "") + ".parameters", out,
                       shape)) {
            return error;
        }
        const std::string front = engine::call_front(format, tools.names[i]);
        fronts.push_back({front, shape});
        // Behind a mark that is a token of its own SentencePiece begins with a space.
        if (format == ToolFormat::kMistral) fronts.push_back({" " + front, shape});
    }
    out.set_root(out.framed(fronts, std::string(engine::call_back(format))));
    return std::nullopt;
}

std::optional<ApiError> add_calls(const ToolOptions& tools, ToolFormat format,
                                  const std::string& param, engine::JsonGrammar& grammar) {
    const std::int32_t reply = grammar.root();
    // A call of this family is such an object.
    if (format == ToolFormat::kLlama3 && reply == engine::JsonGrammar::kFreeObject)
        return std::nullopt;
    std::optional<std::int32_t> either;
    if (format == ToolFormat::kTagged) {
        std::vector<engine::JsonGrammar::Framed> fronts;
        for (const std::string& name : tools.names)
            fronts.push_back({engine::call_front(format, name), engine::JsonGrammar::kFreeObject});
        const std::string back(engine::call_back(format));
        either = grammar.one_of({grammar.framed(fronts, back), reply});
    }
    if (!either)
        return invalid_field(param, "unsupported_value",
                             "'" + param +
                                 "' cannot be kept beside calls that the model may choose to make "
                                 "with this model's template; set 'tool_choice'.");
    grammar.set_root(*either);
    return std::nullopt;
}

std::optional<ApiError> bind_calls(const ToolOptions& tools, ToolFormat format,
                                   const std::string& param,
                                   std::optional<engine::JsonGrammar>& grammar) {
    if (tools.must_call()) return call_grammar(tools, format, grammar.emplace());
    if (!tools.offered() || !grammar) return std::nullopt;
    return add_calls(tools, format, param, *grammar);
}

std::string spaced_json(const json::value& value, int indent) {
    std::string out;
    add_json(value, indent, 0, out);
    return out;
}

}  // namespace hearth
