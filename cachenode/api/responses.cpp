// Responses: JSON objects built field by field in OpenAI's order, and their SSE framing.
#include "cachenode/api/responses.h"

#include <algorithm>
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>
#include <utility>

#include "cachenode/api/strict_json.h"

namespace hearth {

namespace json = boost::json;

namespace {

constexpr double kLogprobMin = -9999.0;  // What OpenAI writes for minus infinity.

double finite_logprob(float value) {
    return std::max(kLogprobMin, static_cast<double>(value));  // NaN also gives kLogprobMin.
}

std::string event(const json::object& object) {
    return "data: " + json::serialize(object) + "\n\n";
}

json::array bytes_of(std::string_view text) {
    json::array out;
    out.reserve(text.size());
    for (const char c : text)
        out.emplace_back(static_cast<std::uint64_t>(static_cast<unsigned char>(c)));
    return out;
}

json::object usage_object(const TurnUsage& usage) {
    return {{"prompt_tokens", usage.prompt_tokens},
            {"completion_tokens", usage.completion_tokens},
            {"total_tokens", usage.prompt_tokens + usage.completion_tokens},
            {"prompt_tokens_details", {{"cached_tokens", usage.cached_tokens}}}};
}

json::object token_object(const engine::Tokenizer& tokenizer, engine::TokenId id, float logprob) {
    const std::string bytes = tokenizer.decode(id, /*keep_special=*/true);
    return {{"token", to_valid_utf8(bytes)},
            {"logprob", finite_logprob(logprob)},
            {"bytes", bytes_of(bytes)}};
}

json::object chat_logprobs(const engine::Tokenizer& tokenizer,
                           std::span<const engine::Sampled> tokens) {
    json::array content;
    for (const engine::Sampled& token : tokens) {
        json::object entry = token_object(tokenizer, token.id, token.logprob);
        json::array top;
        for (const auto& [id, logprob] : token.top)
            top.push_back(token_object(tokenizer, id, logprob));
        entry["top_logprobs"] = std::move(top);
        content.push_back(std::move(entry));
    }
    return {{"content", std::move(content)}, {"refusal", nullptr}};
}

std::int64_t characters(std::string_view text) {
    return std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xc0) != 0x80; });
}

json::object completion_logprobs(const engine::Tokenizer& tokenizer,
                                 std::span<const engine::Sampled> tokens, std::int64_t& offset) {
    json::array texts, logprobs, tops, offsets;
    for (const engine::Sampled& token : tokens) {
        const std::string text = to_valid_utf8(tokenizer.decode(token.id, true));
        json::object top;
        for (const auto& [id, logprob] : token.top)
            top.emplace(to_valid_utf8(tokenizer.decode(id, true)), finite_logprob(logprob));
        texts.emplace_back(text);
        logprobs.emplace_back(finite_logprob(token.logprob));
        tops.push_back(std::move(top));
        offsets.emplace_back(offset);
        offset += characters(text);
    }
    return {{"tokens", std::move(texts)},
            {"token_logprobs", std::move(logprobs)},
            {"top_logprobs", std::move(tops)},
            {"text_offset", std::move(offsets)}};
}

json::value logprobs_of(const ReplyHead& head, const engine::Tokenizer& tokenizer,
                        std::span<const engine::Sampled> tokens, std::int64_t& offset) {
    if (!head.logprobs) return nullptr;
    if (head.endpoint == Endpoint::kChat) return chat_logprobs(tokenizer, tokens);
    return completion_logprobs(tokenizer, tokens, offset);
}

json::object envelope(const ReplyHead& head, std::string_view chat_object) {
    const std::string_view object =
        head.endpoint == Endpoint::kChat ? chat_object : std::string_view("text_completion");
    return {{"id", head.id},
            {"object", object},
            {"created", head.created},
            {"model", head.model},
            {"system_fingerprint", head.fingerprint}};
}

// A chunk with one choice; `choice` lacks only its index.
json::object chunk_object(const ReplyHead& head, json::object choice) {
    json::object out = envelope(head, "chat.completion.chunk");
    json::array choices;
    choices.push_back(std::move(choice));
    out["choices"] = std::move(choices);
    if (head.include_usage) out["usage"] = nullptr;
    return out;
}

}  // namespace

void ReplyWriter::skip(std::span<const engine::TokenId> tokens) {
    if (!head_.logprobs || head_.endpoint != Endpoint::kCompletion) return;
    for (const engine::TokenId id : tokens)
        text_offset_ += characters(to_valid_utf8(tokenizer_.decode(id, true)));
}

std::string ReplyWriter::first_chunk() const {
    if (head_.endpoint != Endpoint::kChat) return {};
    return event(chunk_object(head_, {{"index", 0},
                                      {"delta", {{"role", "assistant"}, {"content", ""}}},
                                      {"logprobs", nullptr},
                                      {"finish_reason", nullptr}}));
}

std::string ReplyWriter::chunk(std::string_view text, std::span<const engine::Sampled> logprobs) {
    json::object choice{{"index", 0}};
    if (head_.endpoint == Endpoint::kChat) {
        choice["delta"] = json::object{{"content", text}};
    } else {
        choice["text"] = text;
    }
    choice["logprobs"] = logprobs_of(head_, tokenizer_, logprobs, text_offset_);
    choice["finish_reason"] = nullptr;
    return event(chunk_object(head_, std::move(choice)));
}

std::string ReplyWriter::last_chunks(FinishReason finish, const TurnUsage& usage) const {
    json::object choice{{"index", 0}};
    if (head_.endpoint == Endpoint::kChat) {
        choice["delta"] = json::object{};
    } else {
        choice["text"] = "";
    }
    choice["logprobs"] = nullptr;
    choice["finish_reason"] = to_string(finish);
    std::string out = event(chunk_object(head_, std::move(choice)));
    if (head_.include_usage) {
        json::object last = envelope(head_, "chat.completion.chunk");
        last["choices"] = json::array{};
        last["usage"] = usage_object(usage);
        out += event(last);
    }
    return out + "data: [DONE]\n\n";
}

std::string ReplyWriter::whole(std::string_view text, std::span<const engine::Sampled> logprobs,
                               FinishReason finish, const TurnUsage& usage) {
    json::object choice{{"index", 0}};
    if (head_.endpoint == Endpoint::kChat) {
        choice["message"] =
            json::object{{"role", "assistant"}, {"content", text}, {"refusal", nullptr}};
    } else {
        choice["text"] = text;
    }
    choice["logprobs"] = logprobs_of(head_, tokenizer_, logprobs, text_offset_);
    choice["finish_reason"] = to_string(finish);
    json::object out = envelope(head_, "chat.completion");
    json::array choices;
    choices.push_back(std::move(choice));
    out["choices"] = std::move(choices);
    out["usage"] = usage_object(usage);
    return json::serialize(out);
}

std::string error_event(const ApiError& error) {
    return "data: " + error.body() + "\n\n";
}

namespace {

json::object model_fields(const ServedModel& model) {
    return {{"id", model.name},
            {"object", "model"},
            {"created", model.created},
            {"owned_by", "hearth"},
            {"max_model_len", model.context_length}};
}

}  // namespace

std::string model_object(const ServedModel& model) {
    return json::serialize(model_fields(model));
}

std::string model_list(const ServedModel& model) {
    json::array all;
    all.push_back(model_fields(model));
    return json::serialize(json::object{{"object", "list"}, {"data", std::move(all)}});
}

std::string token_list(std::span<const engine::TokenId> tokens, std::int64_t context_length) {
    return json::serialize(json::object{{"count", tokens.size()},
                                        {"max_model_len", context_length},
                                        {"tokens", json::array(tokens.begin(), tokens.end())}});
}

}  // namespace hearth
