// Chat and completion requests: the table of fields, their ranges, and the ones we must refuse.
#include "cachenode/api/chat_request.h"

#include <algorithm>
#include <array>
#include <boost/json/array.hpp>
#include <charconv>

#include "cachenode/api/field_reader.h"
#include "cachenode/api/response_format.h"
#include "cachenode/api/strict_json.h"

namespace hearth {

namespace json = boost::json;

namespace {

constexpr std::int64_t kTokensMax = 1 << 24;  // As ModelConfig's longest context.
constexpr std::int64_t kTopLogprobsMax = 20;
constexpr std::size_t kStopsMax = 4;
constexpr std::size_t kStopBytesMax = 1024;
constexpr std::size_t kStopIdsMax = 128;
constexpr std::size_t kBiasMax = 1024;
constexpr std::int64_t kChoicesMax = 16;
constexpr std::size_t kMetadataMax = 16;
constexpr std::size_t kMetadataKeyBytesMax = 64;
constexpr std::size_t kMetadataValueBytesMax = 512;
constexpr std::size_t kIgnoredMax = 16;

std::string indexed(std::string_view name, std::size_t i) {
    return std::string(name) + "[" + std::to_string(i) + "]";
}

std::string_view view_of(const json::string& text) {
    return {text.data(), text.size()};
}

bool is_empty_list(const json::value& value) {
    return value.is_array() && value.get_array().empty();
}

void refuse(FieldReader& reader, std::string_view name, std::string_view what) {
    reader.fail(name, "unsupported_parameter", std::string(what));
}

// Fields that change the answer and that this server does not do: better a 400 than a wrong answer.
void refuse_unsupported(FieldReader& reader) {
    constexpr std::array<std::string_view, 15> kNever = {"audio",
                                                         "function_call",
                                                         "functions",
                                                         "grammar",
                                                         "guided_choice",
                                                         "guided_grammar",
                                                         "guided_json",
                                                         "guided_regex",
                                                         "json_schema",
                                                         "moderation",
                                                         "prediction",
                                                         "prompt_logprobs",
                                                         "structured_outputs",
                                                         "suffix",
                                                         "web_search_options"};
    for (const std::string_view name : kNever)
        if (reader.find(name)) refuse(reader, name, "is not supported");
    if (const auto* kinds = reader.find("modalities");
        kinds && *kinds != json::value(json::array{"text"}))
        refuse(reader, "modalities", "must be [\"text\"]");
    bool store = false;
    if (reader.read("store", store) && store) refuse(reader, "store", "is not supported");
    std::int64_t best_of = 1;
    if (reader.read("best_of", 1, 128, best_of) && best_of != 1)
        reader.fail("best_of", "unsupported_value", "must be 1");
}

void read_stop(FieldReader& reader, std::vector<std::string>& out) {
    const json::value* stop = reader.find("stop");
    if (stop == nullptr) return;
    json::array list;
    if (stop->is_string()) list.push_back(*stop);
    if (stop->is_array()) list = stop->get_array();
    if (!stop->is_string() && !stop->is_array())
        return reader.fail_type("stop", "a string or an array of strings");
    if (list.size() > kStopsMax)
        return reader.fail("stop", "invalid_value", "must hold at most 4 strings");
    for (std::size_t i = 0; i < list.size(); ++i) {
        const std::string name = stop->is_array() ? indexed("stop", i) : "stop";
        if (!list[i].is_string()) return reader.fail_type(name, "a string");
        const std::string_view text = view_of(list[i].get_string());
        if (text.empty() || text.size() > kStopBytesMax)
            return reader.fail(name, "invalid_value", "must have 1 to 1024 bytes");
        out.emplace_back(text);
    }
}

void read_token_list(FieldReader& reader, std::string_view name, const json::array& list,
                     std::int32_t vocab_size, std::vector<engine::TokenId>& out) {
    out.reserve(list.size());
    for (std::size_t i = 0; i < list.size(); ++i) {
        const std::optional<std::int64_t> id = integer_of(list[i]);
        if (!id) return reader.fail_type(indexed(name, i), "a token id");
        if (*id < 0 || *id >= vocab_size)
            return reader.fail(indexed(name, i), "invalid_value",
                               "must be below the vocabulary's " + std::to_string(vocab_size));
        out.push_back(static_cast<engine::TokenId>(*id));
    }
}

void read_logit_bias(FieldReader& reader, std::int32_t vocab_size,
                     std::vector<std::pair<engine::TokenId, float>>& out) {
    const json::value* bias = reader.find("logit_bias");
    if (bias == nullptr) return;
    if (!bias->is_object()) return reader.fail_type("logit_bias", "an object");
    if (bias->get_object().size() > kBiasMax)
        return reader.fail("logit_bias", "invalid_value", "must hold at most 1024 tokens");
    for (const auto& [key, value] : bias->get_object()) {
        const std::string name = "logit_bias." + to_valid_utf8({key.data(), key.size()});
        engine::TokenId id = -1;
        const char* end = key.data() + key.size();
        const auto parsed = std::from_chars(key.data(), end, id);
        if (parsed.ec != std::errc{} || parsed.ptr != end || id < 0 || id >= vocab_size)
            return reader.fail(name, "invalid_value", "is not a token id of this model");
        const std::optional<double> amount = number_of(value);
        if (!amount) return reader.fail_type(name, "a number");
        if (*amount < -100.0 || *amount > 100.0)
            return reader.fail(name, "invalid_value", "must be between -100 and 100");
        out.emplace_back(id, static_cast<float>(*amount));
    }
}

void read_stream(FieldReader& reader, TurnOptions& out) {
    reader.read("stream", out.stream);
    const json::value* options = reader.find("stream_options");
    if (options == nullptr) return;
    if (!options->is_object()) return reader.fail_type("stream_options", "an object");
    if (!out.stream)
        return reader.fail("stream_options", "invalid_value", "is only allowed with stream: true");
    FieldReader nested(options->get_object(), "stream_options.");
    nested.read("include_usage", out.include_usage);
    reader.take(nested.error());
}

// Who asks, and what the client's own books say: not used here (the router derives the session from
// some), but judged, so that a mistake shows.
void check_labels(FieldReader& reader) {
    std::string text;
    for (const std::string_view name :
         {"user", "prompt_cache_key", "safety_identifier", "previous_response_id", "session_id",
          "conversation_id", "service_tier", "prompt_cache_retention", "verbosity",
          "reasoning_effort"})
        reader.read(name, text);
    for (const std::string_view name : {"conversation", "prompt_cache_options"})
        reader.find(name);  // Of several types.
    const json::value* metadata = reader.find("metadata");
    if (metadata == nullptr) return;
    if (!metadata->is_object()) return reader.fail_type("metadata", "an object");
    if (metadata->get_object().size() > kMetadataMax)
        return reader.fail("metadata", "invalid_value", "must hold at most 16 pairs");
    for (const auto& [key, value] : metadata->get_object()) {
        const std::string name = "metadata." + to_valid_utf8({key.data(), key.size()});
        if (key.size() > kMetadataKeyBytesMax)
            return reader.fail("metadata", "invalid_value", "has a key of more than 64 bytes");
        if (!value.is_string()) return reader.fail_type(name, "a string");
        if (value.get_string().size() > kMetadataValueBytesMax)
            return reader.fail(name, "invalid_value", "must have at most 512 bytes");
    }
}

// For a header, so only plain names, and not endlessly many.
void note_ignored(const FieldReader& reader, std::vector<std::string>& out) {
    for (const std::string_view name : reader.unasked()) {
        const bool plain = !name.empty() && name.size() <= 64 &&
                           name.find_first_not_of(
                               "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUV"
                               "WXYZ0123456789_-.") == std::string_view::npos;
        if (out.size() < kIgnoredMax) out.emplace_back(plain ? name : "?");
    }
}

void read_sampling(FieldReader& reader, std::int32_t vocab_size, TurnOptions& out) {
    engine::SamplingParams& s = out.sampling;
    reader.read("temperature", 0.0, 2.0, s.temperature);
    reader.read("top_p", 0.0, 1.0, s.top_p);
    reader.read("min_p", 0.0, 1.0, s.min_p);
    std::int64_t top_k = 0;
    reader.read("top_k", -1, kTokensMax, top_k);  // -1 is how vLLM's clients write "off".
    s.top_k = static_cast<std::int32_t>(top_k < 0 ? 0 : top_k);
    reader.read("frequency_penalty", -2.0, 2.0, s.frequency_penalty);
    reader.read("presence_penalty", -2.0, 2.0, s.presence_penalty);
    reader.read("repetition_penalty", 0.01, 10.0, s.repetition_penalty);
    std::int64_t seed = 0;
    out.seeded = reader.read("seed", INT64_MIN, INT64_MAX, seed);
    s.seed = static_cast<std::uint64_t>(seed);
    read_logit_bias(reader, vocab_size, s.logit_bias);
}

void read_turn_options(FieldReader& reader, std::int32_t vocab_size, TurnOptions& out) {
    refuse_unsupported(reader);
    check_labels(reader);
    read_response_format(reader, out.grammar);
    reader.read("n", 1, kChoicesMax, out.choices);
    read_sampling(reader, vocab_size, out);
    std::int64_t tokens = 0;
    // Both are checked; the newer name wins when both are there.
    if (reader.read("max_tokens", 1, kTokensMax, tokens)) out.max_tokens = tokens;
    if (reader.read("max_completion_tokens", 1, kTokensMax, tokens)) out.max_tokens = tokens;
    reader.read("min_tokens", 0, kTokensMax, out.min_tokens);
    if (out.max_tokens && out.min_tokens > *out.max_tokens)
        reader.fail("min_tokens", "invalid_value", "must not exceed max_tokens");
    reader.read("ignore_eos", out.ignore_eos);
    reader.read("cache_prompt", out.cache_prompt);
    std::string truncation;
    if (reader.read("truncation", truncation)) {
        if (truncation != "auto" && truncation != "disabled")
            reader.fail("truncation", "invalid_value", "must be 'auto' or 'disabled'");
        out.truncates = truncation == "auto";
    }
    read_stop(reader, out.stop);
    if (const json::value* ids = reader.find("stop_token_ids")) {
        if (!ids->is_array()) return reader.fail_type("stop_token_ids", "an array of token ids");
        if (ids->get_array().size() > kStopIdsMax)
            return reader.fail("stop_token_ids", "invalid_value", "must hold at most 128 ids");
        read_token_list(reader, "stop_token_ids", ids->get_array(), vocab_size, out.stop_token_ids);
    }
    read_stream(reader, out);
}

// Text parts are joined as they stand: a client that splits a text gets what it would have unsplit.
void read_content_parts(FieldReader& reader, const std::string& name, const json::array& parts,
                        std::string& out) {
    for (std::size_t j = 0; j < parts.size(); ++j) {
        const std::string part = indexed(name, j);
        if (!parts[j].is_object()) return reader.fail_type(part, "an object");
        const json::object& fields = parts[j].get_object();
        const json::value* type = fields.if_contains("type");
        if (type == nullptr || !type->is_string() || type->get_string() != "text")
            return reader.fail(part + ".type", "invalid_value",
                               "must be 'text'; other kinds of content are not supported");
        const json::value* text = fields.if_contains("text");
        if (text == nullptr || !text->is_string())
            return reader.fail(part + ".text", "invalid_type", "must be a string");
        out += view_of(text->get_string());
    }
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
        read_content_parts(reader, name + ".content", content->get_array(), out.content);
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

void read_model(FieldReader& reader, std::string& out) {
    if (!reader.read("model", out) && reader.ok())
        reader.fail("model", "missing_required_parameter", "is missing");
    if (reader.ok() && out.empty()) reader.fail("model", "invalid_value", "must not be empty");
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

// The body as an object, or the 400 that says why not.
std::optional<ApiError> parse_body(std::string_view body, json::value& out) {
    Result<json::value> parsed = parse_strict_json(body);
    if (!parsed.ok() && parsed.error().code == ErrorCode::kTooLarge)
        return invalid_field("", "invalid_value",
                             "The body is too complex: " + parsed.error().message + ".");
    if (!parsed.ok())
        return invalid_field("", "invalid_json",
                             "The body is not valid JSON: " + parsed.error().message + ".");
    out = std::move(*parsed);
    if (!out.is_object())
        return invalid_field("", "invalid_type", "The body must be a JSON object.");
    return std::nullopt;
}

std::optional<ApiError> read_chat(const json::object& body, std::int32_t vocab_size,
                                  ChatRequest& out) {
    FieldReader reader(body);
    read_model(reader, out.model);
    read_messages(reader, out.messages);
    read_turn_options(reader, vocab_size, out.options);
    read_chat_logprobs(reader, out.options.sampling);
    read_tools(reader, /*nested=*/true, out.tools);
    if (out.tools.offered() && out.options.grammar)
        reader.fail("response_format", "unsupported_value", "must be 'text' where there are tools");
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
    read_turn_options(reader, vocab_size, out.options);
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
