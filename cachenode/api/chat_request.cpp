// Chat and completion requests: messages and prompts to native types.
#include "cachenode/api/chat_request.h"

#include <algorithm>
#include <boost/json/array.hpp>

#include "cachenode/api/field_reader.h"
#include "cachenode/api/response_format.h"
#include "cachenode/api/strict_json.h"

namespace hearth {

namespace json = boost::json;

namespace {

// Beside what every endpoint has.
void read_reply_options(FieldReader& reader, std::int32_t vocab_size, TurnOptions& out) {
    read_turn_options(reader, vocab_size, out);
    bool store = false;
    if (reader.read("store", store) && store) refuse(reader, "store", "is not supported");
    read_response_format(reader, out.grammar);
    reader.read("n", 1, kChoicesMax, out.choices);
    std::int64_t tokens = 0;
    // Both are checked; the newer name wins when both are there.
    if (reader.read("max_tokens", 1, kTokensMax, tokens)) out.max_tokens = tokens;
    if (reader.read("max_completion_tokens", 1, kTokensMax, tokens)) out.max_tokens = tokens;
    check_min_tokens(reader, out);
}

bool read_role(FieldReader& reader, const std::string& name, const json::object& fields,
               engine::Role& out) {
    const json::value* role = fields.if_contains("role");
    if (role == nullptr) {
        reader.fail(name, "missing_required_parameter", "is missing");
    } else if (!role->is_string()) {
        reader.fail_type(name, "a string");
    } else if (role->get_string() == "system" || role->get_string() == "developer") {
        out = engine::Role::kSystem;
    } else if (role->get_string() == "user") {
        out = engine::Role::kUser;
    } else if (role->get_string() == "assistant") {
        out = engine::Role::kAssistant;
    } else if (role->get_string() == "tool") {
        out = engine::Role::kTool;
    } else {
        reader.fail(name, "invalid_value",
                    "must be one of 'system', 'developer', 'user', 'assistant' and 'tool'");
    }
    return reader.ok();
}

// A tool's message answers a call that an earlier one made.
void read_call_id(FieldReader& reader, const std::string& name, const json::object& fields,
                  const std::vector<std::string>& ids) {
    const json::value* id = fields.if_contains("tool_call_id");
    if (id == nullptr)
        return reader.fail(name + ".tool_call_id", "missing_required_parameter", "is missing");
    if (!id->is_string()) return reader.fail_type(name + ".tool_call_id", "a string");
    if (std::find(ids.begin(), ids.end(), view_of(id->get_string())) == ids.end())
        reader.fail(name + ".tool_call_id", "invalid_value", "is not the id of an earlier call");
}

// `ids`: of the calls so far.
void read_message(FieldReader& reader, std::size_t i, const json::value& value,
                  std::vector<std::string>& ids, engine::ChatMessage& out) {
    const std::string name = indexed("messages", i);
    if (!value.is_object()) return reader.fail_type(name, "an object");
    const json::object& fields = value.get_object();
    if (!read_role(reader, name + ".role", fields, out.role)) return;
    for (const std::string_view field : {"function_call", "audio"}) {
        const json::value* call = fields.if_contains({field.data(), field.size()});
        if (call && !call->is_null() && !is_empty_list(*call))
            return refuse(reader, name + "." + std::string(field), "is not supported");
    }
    if (out.role == engine::Role::kTool) read_call_id(reader, name, fields, ids);
    const json::value* calls = fields.if_contains("tool_calls");
    if (calls && !calls->is_null() && !is_empty_list(*calls)) {
        if (out.role != engine::Role::kAssistant)
            return reader.fail(name + ".tool_calls", "invalid_value", "is only an assistant's");
        read_tool_calls(reader, *calls, name + ".tool_calls", out.calls, ids);
    }
    const json::value* content = fields.if_contains("content");
    if (content == nullptr || content->is_null()) {
        // OpenAI: an assistant message whose reply was a call has no text.
        if (out.role == engine::Role::kAssistant) return;
        return reader.fail(name + ".content", "missing_required_parameter", "is missing");
    }
    if (content->is_string()) {
        out.content = view_of(content->get_string());
    } else if (content->is_array()) {
        read_content_parts(reader, name + ".content", content->get_array(), {"text"}, out.content);
    } else {
        reader.fail_type(name + ".content", "a string or an array of text parts");
    }
}

void read_messages(FieldReader& reader, std::vector<engine::ChatMessage>& out) {
    const json::value* messages = reader.find("messages");
    if (messages == nullptr)
        return reader.fail("messages", "missing_required_parameter", "is missing");
    if (!messages->is_array()) return reader.fail_type("messages", "an array");
    const json::array& list = messages->get_array();
    if (list.empty()) return reader.fail("messages", "invalid_value", "must not be empty");
    out.resize(list.size());
    std::vector<std::string> ids;
    for (std::size_t i = 0; i < list.size() && reader.ok(); ++i)
        read_message(reader, i, list[i], ids, out[i]);
}

void read_chat_logprobs(FieldReader& reader, engine::SamplingParams& out) {
    bool wanted = false;
    std::int64_t top = 0;
    reader.read("logprobs", wanted);
    if (reader.read("top_logprobs", 0, kTopLogprobsMax, top) && !wanted)
        reader.fail("top_logprobs", "invalid_value", "is only allowed with logprobs: true");
    if (wanted) out.top_logprobs = static_cast<std::int32_t>(top);
}

// A string, a list of token ids, or a list that holds exactly one of them.
void read_prompt(FieldReader& reader, const json::value& prompt, std::int32_t vocab_size,
                 CompletionRequest& out) {
    if (prompt.is_string()) {
        out.text = view_of(prompt.get_string());
        return;
    }
    if (!prompt.is_array()) return reader.fail_type("prompt", "a string or an array of token ids");
    const json::array& list = prompt.get_array();
    if (list.empty()) return reader.fail("prompt", "invalid_value", "must not be empty");
    const bool nested = list[0].is_string() || list[0].is_array();
    if (nested && list.size() > 1)
        return reader.fail("prompt", "unsupported_value", "must hold a single prompt");
    if (nested && list[0].is_string()) {
        out.text = view_of(list[0].get_string());
        return;
    }
    const json::array& ids = nested ? list[0].get_array() : list;
    if (ids.empty()) return reader.fail("prompt[0]", "invalid_value", "must not be empty");
    out.is_tokens = true;
    read_token_list(reader, nested ? "prompt[0]" : "prompt", ids, vocab_size, out.tokens);
}

std::optional<ApiError> read_chat(const json::object& body, std::int32_t vocab_size,
                                  ChatRequest& out) {
    FieldReader reader(body);
    read_model(reader, out.model);
    read_messages(reader, out.messages);
    read_reply_options(reader, vocab_size, out.options);
    read_chat_logprobs(reader, out.options.sampling);
    read_tools(reader, /*nested=*/true, out.tools);
    note_ignored(reader, out.options.ignored);
    return reader.error();
}

std::optional<ApiError> read_completion(const json::object& body, std::int32_t vocab_size,
                                        CompletionRequest& out) {
    FieldReader reader(body);
    read_model(reader, out.model);
    const json::value* prompt = reader.find("prompt");
    if (prompt) read_prompt(reader, *prompt, vocab_size, out);
    if (!prompt) reader.fail("prompt", "missing_required_parameter", "is missing");
    read_reply_options(reader, vocab_size, out.options);
    for (const std::string_view name : {"tools", "tool_choice"})
        if (const json::value* tools = reader.find(name); tools && !is_empty_list(*tools))
            refuse(reader, name, "is only supported in chats");
    bool echo = false;
    if (reader.read("echo", echo) && echo) refuse(reader, "echo", "is not supported");
    std::int64_t top = 0;
    if (reader.read("logprobs", 0, kTopLogprobsMax, top))
        out.options.sampling.top_logprobs = static_cast<std::int32_t>(top);
    note_ignored(reader, out.options.ignored);
    return reader.error();
}

}  // namespace

std::optional<ApiError> parse_chat_request(std::string_view body, std::int32_t vocab_size,
                                           ChatRequest& out) {
    json::value document;
    if (auto error = parse_body(body, document)) return error;
    return read_chat(document.get_object(), vocab_size, out);
}

std::optional<ApiError> parse_completion_request(std::string_view body, std::int32_t vocab_size,
                                                 CompletionRequest& out) {
    json::value document;
    if (auto error = parse_body(body, document)) return error;
    return read_completion(document.get_object(), vocab_size, out);
}

std::optional<ApiError> parse_tokenize_request(std::string_view body, std::int32_t vocab_size,
                                               TokenizeRequest& out) {
    json::value document;
    if (auto error = parse_body(body, document)) return error;
    const json::object& fields = document.get_object();
    if (fields.contains("messages")) return read_chat(fields, vocab_size, out.emplace<0>());
    return read_completion(fields, vocab_size, out.emplace<1>());
}

std::optional<ApiError> parse_detokenize_request(std::string_view body, std::int32_t vocab_size,
                                                 std::vector<engine::TokenId>& out) {
    json::value document;
    if (auto error = parse_body(body, document)) return error;
    FieldReader reader(document.get_object());
    const json::value* tokens = reader.find("tokens");
    if (tokens == nullptr)
        reader.fail("tokens", "missing_required_parameter", "is missing");
    else if (!tokens->is_array())
        reader.fail_type("tokens", "an array of token ids");
    else
        read_token_list(reader, "tokens", tokens->get_array(), vocab_size, out);
    return reader.error();
}

}  // namespace hearth
