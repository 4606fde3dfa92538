// ResponseWriter: events numbered in order; the last one holds the whole response.
#include "cachenode/api/response_writer.h"

#include <boost/json/serialize.hpp>
#include <utility>

namespace hearth {

namespace json = boost::json;

namespace {

json::object usage_object(const TurnUsage& usage) {
    return {{"input_tokens", usage.prompt_tokens},
            {"input_tokens_details",
             {{"cached_tokens", usage.cached_tokens},
              {"cache_write_tokens", usage.cache_write_tokens}}},
            {"output_tokens", usage.completion_tokens},
            {"output_tokens_details", {{"reasoning_tokens", 0}}},
            {"total_tokens", usage.prompt_tokens + usage.completion_tokens}};
}

}  // namespace

std::string ResponseWriter::event(std::string_view type, json::object fields) {
    json::object out{{"type", type}, {"sequence_number", sequence_++}};
    for (auto& [key, value] : fields) out[key] = std::move(value);
    return "event: " + std::string(type) + "\ndata: " + json::serialize(out) + "\n\n";
}

json::object ResponseWriter::text_part() const {
    return {{"type", "output_text"},
            {"annotations", json::array{}},
            {"logprobs", logprobs_},
            {"text", text_}};
}

json::object ResponseWriter::message_item(std::string_view status) const {
    json::array content;
    if (status != "in_progress") content.push_back(text_part());
    return {{"id", "msg_" + head_.id.substr(head_.id.find('_') + 1)},
            {"type", "message"},
            {"status", status},
            {"role", "assistant"},
            {"content", std::move(content)}};
}

json::object ResponseWriter::call_item(const MadeCall& call, std::string_view status) const {
    const bool is_begun = status == "in_progress";
    return {{"id", "fc_" + call.id.substr(call.id.find('_') + 1)},
            {"type", "function_call"},
            {"status", status},
            {"call_id", call.id},
            {"name", call.call.name},
            {"arguments", is_begun ? std::string() : call.call.arguments}};
}

json::object ResponseWriter::response(std::string_view status, const TurnUsage* usage) const {
    const auto shown = [this](std::string_view name, json::value otherwise) {
        const json::value* value = head_.shown.if_contains({name.data(), name.size()});
        return value != nullptr ? *value : std::move(otherwise);
    };
    json::object out{{"id", head_.id},
                     {"object", "response"},
                     {"created_at", head_.created},
                     {"status", status},
                     {"background", false},
                     {"error", nullptr},
                     {"incomplete_details", nullptr},
                     {"instructions", shown("instructions", nullptr)},
                     {"max_output_tokens", shown("max_output_tokens", nullptr)},
                     {"model", head_.model},
                     {"output", output_},
                     {"parallel_tool_calls", shown("parallel_tool_calls", true)},
                     {"previous_response_id", shown("previous_response_id", nullptr)},
                     {"reasoning", {{"effort", nullptr}, {"summary", nullptr}}},
                     {"store", head_.store},
                     {"temperature", shown("temperature", 1.0)},
                     {"text", shown("text", {{"format", {{"type", "text"}}}})},
                     {"tool_choice", shown("tool_choice", "auto")},
                     {"tools", shown("tools", json::array{})},
                     {"top_p", shown("top_p", 1.0)},
                     {"truncation", shown("truncation", "disabled")},
                     {"user", shown("user", nullptr)},
                     {"metadata", shown("metadata", json::object{})},
                     {"usage", nullptr}};
    if (status == "incomplete")
        out["incomplete_details"] = json::object{{"reason", "max_output_tokens"}};
    if (usage != nullptr) out["usage"] = usage_object(*usage);
    return out;
}

std::string ResponseWriter::first_chunks() {
    std::string out = event("response.created", {{"response", response("in_progress", nullptr)}});
    return out + event("response.in_progress", {{"response", response("in_progress", nullptr)}});
}

std::string ResponseWriter::open_message() {
    in_message_ = true;
    const json::object item = message_item("in_progress");
    std::string out =
        event("response.output_item.added", {{"output_index", output_.size()}, {"item", item}});
    return out + event("response.content_part.added", {{"item_id", item.at("id")},
                                                       {"output_index", output_.size()},
                                                       {"content_index", 0},
                                                       {"part", text_part()}});
}

std::string ResponseWriter::chunk(std::string_view text, std::span<const engine::Sampled> logprobs,
                                  std::size_t) {
    std::string out;
    if (!in_message_) out = open_message();
    json::array list;
    if (head_.logprobs) list = logprob_list(tokenizer_, logprobs);
    text_ += text;
    for (const json::value& entry : list) logprobs_.push_back(entry);
    return out + event("response.output_text.delta", {{"item_id", message_item("").at("id")},
                                                      {"output_index", output_.size()},
                                                      {"content_index", 0},
                                                      {"delta", text},
                                                      {"logprobs", std::move(list)}});
}

std::string ResponseWriter::close_message() {
    if (!std::exchange(in_message_, false)) return {};
    json::object item = message_item(finish_ == FinishReason::kLength ? "incomplete" : "completed");
    const json::object place{
        {"item_id", item.at("id")}, {"output_index", output_.size()}, {"content_index", 0}};
    json::object text = place, part = place;
    text["text"] = text_;
    text["logprobs"] = logprobs_;
    part["part"] = text_part();
    std::string out = event("response.output_text.done", std::move(text));
    out += event("response.content_part.done", std::move(part));
    out += event("response.output_item.done", {{"output_index", output_.size()}, {"item", item}});
    output_.push_back(std::move(item));
    text_.clear();
    logprobs_.clear();
    return out;
}

std::string ResponseWriter::call_chunk(const MadeCall& call, std::size_t, std::size_t) {
    std::string out = close_message();
    const std::size_t index = output_.size();
    json::object item = call_item(call, "completed");
    const json::object place{{"item_id", item.at("id")}, {"output_index", index}};
    json::object delta = place, done = place;
    delta["delta"] = call.call.arguments;
    done["name"] = call.call.name;
    done["arguments"] = call.call.arguments;
    out += event("response.output_item.added",
                 {{"output_index", index}, {"item", call_item(call, "in_progress")}});
    out += event("response.function_call_arguments.delta", std::move(delta));
    out += event("response.function_call_arguments.done", std::move(done));
    out += event("response.output_item.done", {{"output_index", index}, {"item", item}});
    output_.push_back(std::move(item));
    return out;
}

std::string ResponseWriter::finish_chunk(FinishReason finish, std::size_t) {
    finish_ = finish;
    std::string out;
    if (output_.empty() && !in_message_) out = open_message();  // A reply without text has a place.
    return out + close_message();
}

std::string ResponseWriter::end(const TurnUsage& usage) {
    const bool is_cut = finish_ == FinishReason::kLength;
    const json::object last = response(is_cut ? "incomplete" : "completed", &usage);
    answer_ = json::serialize(last);
    return event(is_cut ? "response.incomplete" : "response.completed", {{"response", last}});
}

std::string ResponseWriter::failure(const ApiError& error) {
    const json::value code = error.code.empty() ? json::value(nullptr) : json::value(error.code);
    const json::object fields{{"message", error.message}, {"code", code}, {"param", nullptr}};
    json::object out = fields;
    out["error"] = fields;
    out.at("error").as_object()["type"] = error.type;
    return event("error", std::move(out));
}

std::string ResponseWriter::whole(std::span<const Choice> choices, const TurnUsage& usage) {
    const Choice& choice = choices.front();
    finish_ = choice.finish;
    text_ = choice.text;
    if (head_.logprobs) logprobs_ = logprob_list(tokenizer_, choice.logprobs);
    const bool is_cut = finish_ == FinishReason::kLength;
    const std::string_view status = is_cut ? "incomplete" : "completed";
    if (!text_.empty() || choice.calls.empty()) output_.push_back(message_item(status));
    for (const MadeCall& call : choice.calls) output_.push_back(call_item(call, "completed"));
    answer_ = json::serialize(response(status, &usage));
    return answer_;
}

}  // namespace hearth
