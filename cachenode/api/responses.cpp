// Responses: JSON objects built field by field in OpenAI's order, and their SSE framing.
#include "cachenode/api/responses.h"

#include <algorithm>
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>
#include <utility>

#include "cachenode/api/strict_json.h"
#include "common/config/version.h"
#include "engine/model/kv_layout.h"

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
            {"prompt_tokens_details",
             {{"cached_tokens", usage.cached_tokens},
              {"cache_write_tokens", usage.cache_write_tokens}}}};
}

json::object token_object(const engine::Tokenizer& tokenizer, engine::TokenId id, float logprob) {
    const std::string bytes = tokenizer.decode(id, /*keep_special=*/true);
    return {{"token", to_valid_utf8(bytes)},
            {"logprob", finite_logprob(logprob)},
            {"bytes", bytes_of(bytes)}};
}

json::object chat_logprobs(const engine::Tokenizer& tokenizer,
                           std::span<const engine::Sampled> tokens) {
    return {{"content", logprob_list(tokenizer, tokens)}, {"refusal", nullptr}};
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

json::array logprob_list(const engine::Tokenizer& tokenizer,
                         std::span<const engine::Sampled> tokens) {
    json::array list;
    for (const engine::Sampled& token : tokens) {
        json::object entry = token_object(tokenizer, token.id, token.logprob);
        json::array top;
        for (const auto& [id, logprob] : token.top)
            top.push_back(token_object(tokenizer, id, logprob));
        entry["top_logprobs"] = std::move(top);
        list.push_back(std::move(entry));
    }
    return list;
}

void ReplyWriter::skip(std::span<const engine::TokenId> tokens) {
    if (!head_.logprobs || head_.endpoint != Endpoint::kCompletion) return;
    for (const engine::TokenId id : tokens)
        text_offsets_[0] += characters(to_valid_utf8(tokenizer_.decode(id, true)));
}

std::string ReplyWriter::first_chunks() {
    std::string out;
    if (head_.endpoint != Endpoint::kChat) return out;
    for (std::size_t choice = 0; choice < head_.choices; ++choice)
        out += event(chunk_object(head_, {{"index", choice},
                                          {"delta", {{"role", "assistant"}, {"content", ""}}},
                                          {"logprobs", nullptr},
                                          {"finish_reason", nullptr}}));
    return out;
}

std::string ReplyWriter::chunk(std::string_view text, std::span<const engine::Sampled> logprobs,
                               std::size_t choice) {
    json::object object{{"index", choice}};
    if (head_.endpoint == Endpoint::kChat) {
        object["delta"] = json::object{{"content", text}};
    } else {
        object["text"] = text;
    }
    object["logprobs"] = logprobs_of(head_, tokenizer_, logprobs, text_offsets_[choice]);
    object["finish_reason"] = nullptr;
    return event(chunk_object(head_, std::move(object)));
}

namespace {

json::object call_object(const MadeCall& made) {
    return {{"id", made.id},
            {"type", "function"},
            {"function", {{"name", made.call.name}, {"arguments", made.call.arguments}}}};
}

}  // namespace

std::string ReplyWriter::call_chunk(const MadeCall& call, std::size_t index, std::size_t choice) {
    json::object entry{{"index", index}};
    for (const auto& [key, value] : call_object(call)) entry[key] = value;
    json::array calls;
    calls.push_back(std::move(entry));
    return event(chunk_object(head_, {{"index", choice},
                                      {"delta", {{"tool_calls", std::move(calls)}}},
                                      {"logprobs", nullptr},
                                      {"finish_reason", nullptr}}));
}

std::string ReplyWriter::finish_chunk(FinishReason finish, std::size_t choice) {
    json::object object{{"index", choice}};
    if (head_.endpoint == Endpoint::kChat) {
        object["delta"] = json::object{};
    } else {
        object["text"] = "";
    }
    object["logprobs"] = nullptr;
    object["finish_reason"] = to_string(finish);
    return event(chunk_object(head_, std::move(object)));
}

std::string ReplyWriter::failure(const ApiError& error) {
    return error_event(error);
}

std::string ReplyWriter::end(const TurnUsage& usage) {
    std::string out;
    if (head_.include_usage) {
        json::object last = envelope(head_, "chat.completion.chunk");
        last["choices"] = json::array{};
        last["usage"] = usage_object(usage);
        out = event(last);
    }
    return out + "data: [DONE]\n\n";
}

std::string ReplyWriter::whole(std::span<const Choice> choices, const TurnUsage& usage) {
    json::array list;
    for (std::size_t i = 0; i < choices.size(); ++i) {
        json::object object{{"index", i}};
        if (head_.endpoint == Endpoint::kChat) {
            json::object message{
                {"role", "assistant"}, {"content", choices[i].text}, {"refusal", nullptr}};
            json::array calls;
            for (const MadeCall& call : choices[i].calls) calls.push_back(call_object(call));
            if (!calls.empty() && choices[i].text.empty()) message["content"] = nullptr;
            if (!calls.empty()) message["tool_calls"] = std::move(calls);
            object["message"] = std::move(message);
        } else {
            object["text"] = choices[i].text;
        }
        object["logprobs"] = logprobs_of(head_, tokenizer_, choices[i].logprobs, text_offsets_[i]);
        object["finish_reason"] = to_string(choices[i].finish);
        list.push_back(std::move(object));
    }
    json::object out = envelope(head_, "chat.completion");
    out["choices"] = std::move(list);
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

std::string text_answer(const engine::Tokenizer& tokenizer,
                        std::span<const engine::TokenId> tokens) {
    std::string bytes;
    for (const engine::TokenId id : tokens) bytes += tokenizer.decode(id, /*keep_special=*/true);
    return json::serialize(json::object{{"prompt", to_valid_utf8(bytes)}});
}

std::string version_answer() {
    return json::serialize(json::object{{"version", version()}, {"revision", revision()}});
}

std::string properties_answer(const ServedModel& model, const NodeProperties& node) {
    return json::serialize(json::object{{"node", node.node_id},
                                        {"model", model.name},
                                        {"max_model_len", model.context_length},
                                        {"vocab_size", node.vocab_size},
                                        {"system_fingerprint", node.fingerprint},
                                        {"chat_template", node.chat_template},
                                        {"kv_page_tokens", engine::kPageTokens},
                                        {"kv_tokens_max", node.kv_tokens_max},
                                        {"version", version()},
                                        {"revision", revision()}});
}

std::string token_list(std::span<const engine::TokenId> tokens, std::int64_t context_length) {
    return json::serialize(json::object{{"count", tokens.size()},
                                        {"max_model_len", context_length},
                                        {"tokens", json::array(tokens.begin(), tokens.end())}});
}

}  // namespace hearth
