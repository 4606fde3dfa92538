// TurnOptions: the table of fields, their ranges, and the ones we must refuse.
#include "cachenode/api/turn_options.h"

#include <algorithm>
#include <array>
#include <charconv>

#include "cachenode/api/response_format.h"
#include "cachenode/api/strict_json.h"

namespace hearth {

namespace json = boost::json;

namespace {

constexpr std::size_t kStopsMax = 4;
constexpr std::size_t kStopBytesMax = 1024;
constexpr std::size_t kStopIdsMax = 128;
constexpr std::size_t kBiasMax = 1024;
constexpr std::int64_t kChoicesMax = 16;
constexpr std::size_t kMetadataMax = 16;
constexpr std::size_t kMetadataKeyBytesMax = 64;
constexpr std::size_t kMetadataValueBytesMax = 512;
constexpr std::size_t kIgnoredMax = 16;

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

}  // namespace

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

void read_model(FieldReader& reader, std::string& out) {
    if (!reader.read("model", out) && reader.ok())
        reader.fail("model", "missing_required_parameter", "is missing");
    if (reader.ok() && out.empty()) reader.fail("model", "invalid_value", "must not be empty");
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

void read_content_parts(FieldReader& reader, const std::string& name, const json::array& parts,
                        std::initializer_list<std::string_view> types, std::string& out) {
    for (std::size_t j = 0; j < parts.size(); ++j) {
        const std::string part = indexed(name, j);
        if (!parts[j].is_object()) return reader.fail_type(part, "an object");
        const json::object& fields = parts[j].get_object();
        const json::value* type = fields.if_contains("type");
        const bool is_text =
            type != nullptr && type->is_string() &&
            std::find(types.begin(), types.end(), view_of(type->get_string())) != types.end();
        if (!is_text)
            return reader.fail(part + ".type", "invalid_value",
                               "must be '" + std::string(*types.begin()) +
                                   "'; other kinds of content are not supported");
        const json::value* text = fields.if_contains("text");
        if (text == nullptr || !text->is_string())
            return reader.fail(part + ".text", "invalid_type", "must be a string");
        out += view_of(text->get_string());
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

void check_min_tokens(FieldReader& reader, const TurnOptions& options) {
    if (options.max_tokens && options.min_tokens > *options.max_tokens)
        reader.fail("min_tokens", "invalid_value", "must not exceed max_tokens");
}

void read_turn_options(FieldReader& reader, std::int32_t vocab_size, TurnOptions& out) {
    refuse_unsupported(reader);
    check_labels(reader);
    read_sampling(reader, vocab_size, out);
    reader.read("min_tokens", 0, kTokensMax, out.min_tokens);
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

}  // namespace hearth
