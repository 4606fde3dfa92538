// ResponseRequest: items to messages; what would need state that is not kept here is refused.
#include "cachenode/api/response_request.h"

#include <algorithm>
#include <array>
#include <boost/json/array.hpp>
#include <utility>

#include "cachenode/api/response_format.h"

namespace hearth {

namespace json = boost::json;
using engine::Role;

namespace {

void read_text(FieldReader& reader, const json::value* value, const std::string& name,
               std::string& out) {
    if (value == nullptr) return reader.fail(name, "missing_required_parameter", "is missing");
    if (value->is_string()) {
        out = view_of(value->get_string());
    } else if (value->is_array()) {
        read_content_parts(reader, name, value->get_array(), {"input_text", "output_text", "text"},
                           out);
    } else {
        reader.fail_type(name, "a string or an array of text parts");
    }
}

void read_message_item(FieldReader& reader, const json::object& item, const std::string& name,
                       Dialogue& out) {
    constexpr std::array<std::pair<std::string_view, Role>, 4> kRoles = {
        {{"user", Role::kUser},
         {"assistant", Role::kAssistant},
         {"system", Role::kSystem},
         {"developer", Role::kSystem}}};
    const json::value* role = item.if_contains("role");
    if (role == nullptr)
        return reader.fail(name + ".role", "missing_required_parameter", "is missing");
    const std::string_view given = role->is_string() ? view_of(role->get_string()) : "";
    const auto known = std::find_if(kRoles.begin(), kRoles.end(),
                                    [&](const auto& one) { return one.first == given; });
    if (known == kRoles.end())
        return reader.fail(name + ".role", "invalid_value",
                           "must be one of 'user', 'assistant', 'system' and 'developer'");
    engine::ChatMessage message;
    message.role = known->second;
    read_text(reader, item.if_contains("content"), name + ".content", message.content);
    out.messages.push_back(std::move(message));
}

// Calls of one reply are items one after another, behind the reply's text.
void read_call_item(FieldReader& reader, const json::object& item, const std::string& name,
                    Dialogue& out) {
    FieldReader fields(item, name + ".");
    engine::ToolCall call;
    std::string id;
    for (const auto& [field, place] :
         {std::pair{"call_id", &id}, {"name", &call.name}, {"arguments", &call.arguments}})
        if (!fields.read(field, *place))
            fields.fail(field, "missing_required_parameter", "is missing");
    reader.take(fields.error());
    if (out.messages.empty() || out.messages.back().role != Role::kAssistant)
        out.messages.push_back({Role::kAssistant, {}});
    out.messages.back().calls.push_back(std::move(call));
    out.call_ids.push_back(std::move(id));
}

void read_output_item(FieldReader& reader, const json::object& item, const std::string& name,
                      Dialogue& out) {
    FieldReader fields(item, name + ".");
    std::string id;
    if (!fields.read("call_id", id))
        fields.fail("call_id", "missing_required_parameter", "is missing");
    else if (std::find(out.call_ids.begin(), out.call_ids.end(), id) == out.call_ids.end())
        fields.fail("call_id", "invalid_value", "is not the id of an earlier call");
    reader.take(fields.error());
    engine::ChatMessage message;
    message.role = Role::kTool;
    read_text(reader, item.if_contains("output"), name + ".output", message.content);
    out.messages.push_back(std::move(message));
}

void read_item(FieldReader& reader, const json::value& value, const std::string& name,
               Dialogue& out) {
    if (!value.is_object()) return reader.fail_type(name, "an object");
    const json::object& item = value.get_object();
    const json::value* type = item.if_contains("type");
    const std::string_view kind = type == nullptr     ? "message"
                                  : type->is_string() ? view_of(type->get_string())
                                                      : "";
    if (kind == "message") return read_message_item(reader, item, name, out);
    if (kind == "function_call") return read_call_item(reader, item, name, out);
    if (kind == "function_call_output") return read_output_item(reader, item, name, out);
    reader.fail(name + ".type", "unsupported_value",
                "must be 'message', 'function_call' or 'function_call_output'");
}

void read_input(FieldReader& reader, Dialogue& out) {
    const json::value* input = reader.find("input");
    if (input == nullptr) return reader.fail("input", "missing_required_parameter", "is missing");
    if (input->is_string()) {
        out.messages.push_back({Role::kUser, std::string(view_of(input->get_string()))});
        return;
    }
    if (!input->is_array()) return reader.fail_type("input", "a string or an array of items");
    const json::array& items = input->get_array();
    if (items.empty()) return reader.fail("input", "invalid_value", "must not be empty");
    for (std::size_t i = 0; i < items.size() && reader.ok(); ++i)
        read_item(reader, items[i], indexed("input", i), out);
}

// Fields of this endpoint that nothing here can honour.
void refuse_others(FieldReader& reader) {
    for (const std::string_view name :
         {"conversation", "prompt", "max_tool_calls", "response_format", "messages", "n"})
        if (reader.find(name)) refuse(reader, name, "is not supported by this endpoint");
    bool background = false;
    if (reader.read("background", background) && background)
        refuse(reader, "background", "is not supported");
    const json::value* include = reader.find("include");
    if (include != nullptr && !include->is_array()) return reader.fail_type("include", "an array");
    if (include == nullptr) return;
    for (std::size_t i = 0; i < include->get_array().size(); ++i)
        if (include->get_array()[i] != json::value("message.output_text.logprobs"))
            reader.fail(indexed("include", i), "unsupported_value",
                        "must be 'message.output_text.logprobs'");
}

void read_logprobs(FieldReader& reader, engine::SamplingParams& out) {
    std::int64_t top = 0;
    const bool is_counted = reader.read("top_logprobs", 0, kTopLogprobsMax, top);
    const json::value* include = reader.find("include");
    const bool is_included = include != nullptr && !is_empty_list(*include);
    if (is_included || (is_counted && top > 0)) out.top_logprobs = static_cast<std::int32_t>(top);
}

void read_reply(FieldReader& reader, ResponseRequest& out) {
    std::int64_t tokens = 0;
    if (reader.read("max_output_tokens", 1, kTokensMax, tokens)) out.options.max_tokens = tokens;
    check_min_tokens(reader, out.options);
    read_logprobs(reader, out.options.sampling);
    read_tools(reader, /*nested=*/false, out.tools);
    const json::value* reasoning = reader.find("reasoning");
    if (reasoning != nullptr && !reasoning->is_object()) reader.fail_type("reasoning", "an object");
    const json::value* text = reader.find("text");
    if (text == nullptr) return;
    if (!text->is_object()) return reader.fail_type("text", "an object");
    if (const json::value* format = text->get_object().if_contains("format"))
        read_format(reader, *format, "text.format", "", out.options.grammar);
}

void keep_shown(const json::object& body, json::object& out) {
    for (const std::string_view name :
         {"instructions", "max_output_tokens", "metadata", "parallel_tool_calls",
          "previous_response_id", "temperature", "text", "tool_choice", "tools", "top_p",
          "truncation", "user"}) {
        const json::value* value = body.if_contains({name.data(), name.size()});
        if (value != nullptr && !value->is_null()) out[{name.data(), name.size()}] = *value;
    }
}

ApiError unknown_previous(const std::string& id) {
    ApiError error = invalid_field("previous_response_id", std::string(kPreviousNotFound),
                                   "Previous response with id '" + id + "' not found.");
    error.status = 404;
    return error;
}

}  // namespace

std::optional<ApiError> parse_response_request(std::string_view body, std::int32_t vocab_size,
                                               const FindDialogue& find, ResponseRequest& out) {
    json::value document;
    if (auto error = parse_body(body, document)) return error;
    const json::object& fields = document.get_object();
    FieldReader reader(fields);
    read_model(reader, out.model);
    if (reader.read("previous_response_id", out.previous_id)) {
        const Dialogue* earlier = find(out.previous_id);
        if (earlier == nullptr) return unknown_previous(out.previous_id);
        out.dialogue = *earlier;
    }
    read_input(reader, out.dialogue);
    reader.read("instructions", out.instructions);
    reader.read("store", out.store);
    refuse_others(reader);
    read_turn_options(reader, vocab_size, out.options);
    read_reply(reader, out);
    note_ignored(reader, out.options.ignored);
    keep_shown(fields, out.shown);
    return reader.error();
}

}  // namespace hearth
