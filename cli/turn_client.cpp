// A streamed chat turn over HTTP: builds the request, reads the SSE events, keeps the time.
#include "cli/turn_client.h"

#include <boost/json.hpp>
#include <utility>

#include "common/net/sse.h"
#include "common/wire/headers.h"

namespace hearth::cli {
namespace {

namespace json = boost::json;
constexpr std::chrono::milliseconds kHeadTimeout{600'000};
constexpr std::chrono::milliseconds kChunkTimeout{120'000};

std::string request_body(const TurnSettings& settings, const std::vector<Message>& dialogue) {
    json::array messages;
    for (const Message& m : dialogue)
        messages.push_back(json::object{{"role", m.role}, {"content", m.content}});
    json::object body{{"model", settings.model},
                      {"messages", std::move(messages)},
                      {"max_completion_tokens", settings.max_tokens},
                      {"temperature", settings.temperature},
                      {"seed", settings.seed},
                      {"stream", true},
                      {"stream_options", json::object{{"include_usage", true}}}};
    if (settings.ignore_eos) body["ignore_eos"] = true;
    return json::serialize(body);
}

std::string error_text(std::string_view body) {
    boost::system::error_code failed;
    const json::value value = json::parse(json::string_view(body.data(), body.size()), failed);
    if (!failed && value.is_object())
        if (const auto* error = value.as_object().if_contains("error"); error && error->is_object())
            if (const auto* message = error->as_object().if_contains("message");
                message && message->is_string())
                return std::string(message->as_string());
    return std::string(body.substr(0, 200));
}

// "node=a;reason=home;key=header" -> the value of one key.
std::string route_part(std::string_view route, std::string_view key) {
    while (!route.empty()) {
        const auto end = route.find(';');
        const std::string_view part = route.substr(0, end);
        const auto equals = part.find('=');
        if (equals != std::string_view::npos && part.substr(0, equals) == key)
            return std::string(part.substr(equals + 1));
        if (end == std::string_view::npos) break;
        route.remove_prefix(end + 1);
    }
    return {};
}

std::int64_t integer_at(const json::object& object, std::string_view key) {
    const auto* value = object.if_contains(json::string_view(key.data(), key.size()));
    return value && value->is_int64() ? value->as_int64() : 0;
}

void read_usage(const json::object& chunk, TurnResult& result) {
    const auto* usage = chunk.if_contains("usage");
    if (!usage || !usage->is_object()) return;
    const json::object& u = usage->as_object();
    result.prompt_tokens = integer_at(u, "prompt_tokens");
    result.completion_tokens = integer_at(u, "completion_tokens");
    if (const auto* details = u.if_contains("prompt_tokens_details");
        details && details->is_object())
        result.cached_tokens = integer_at(details->as_object(), "cached_tokens");
}

// One event's JSON. Returns the text it carries.
std::string read_chunk(std::string_view data, TurnResult& result) {
    boost::system::error_code failed;
    const json::value value = json::parse(json::string_view(data.data(), data.size()), failed);
    if (failed || !value.is_object()) {
        result.error = "the stream holds an event that is not JSON";
        return {};
    }
    const json::object& chunk = value.as_object();
    if (chunk.contains("error")) {
        result.error = error_text(data);
        return {};
    }
    read_usage(chunk, result);
    const auto* choices = chunk.if_contains("choices");
    if (!choices || !choices->is_array() || choices->as_array().empty()) return {};
    const json::value& choice = choices->as_array().front();
    if (!choice.is_object()) return {};
    if (const auto* finish = choice.as_object().if_contains("finish_reason");
        finish && finish->is_string())
        result.finish_reason = std::string(finish->as_string());
    const auto* delta = choice.as_object().if_contains("delta");
    if (!delta || !delta->is_object()) return {};
    const auto* content = delta->as_object().if_contains("content");
    return content && content->is_string() ? std::string(content->as_string()) : std::string();
}

}  // namespace

Task<TurnResult> run_turn(HttpClient& client, const Clock& clock, const TurnSettings& settings,
                          const std::vector<Message>& dialogue,
                          std::function<void(std::string_view)> on_text) {
    TurnResult result;
    const std::string body = request_body(settings, dialogue);
    const MonotonicNs begin = clock.now();
    auto opened = co_await client.open(settings.router, true);
    if (!opened) {
        result.error = opened.error().message;
        co_return result;
    }
    ClientExchange& exchange = **opened;
    ClientExchange::RequestOptions options;
    options.method = "POST";
    options.target = "/v1/chat/completions";
    options.host = settings.router;
    options.body = BodyKind::kLength;
    options.content_length = body.size();
    std::vector<HeaderField> fields{{"content-type", "application/json"}};
    if (!settings.session.empty()) fields.push_back({"x-session-id", settings.session});
    auto sent = co_await exchange.send_head(options, fields, body);
    if (!sent) {
        result.error = sent.error().message;
        co_return result;
    }
    auto head = co_await exchange.read_head(kHeadTimeout);
    if (!head) {
        result.error = head.error().message;
        co_return result;
    }
    const int status = (*head)->status;
    const std::string route((*head)->find(header::kRoute));
    result.node = route_part(route, "node");
    result.reason = route_part(route, "reason");
    result.key_source = route_part(route, "key");
    SseReader events;
    std::string refusal;
    bool done = false;
    const auto on_event = [&](std::string_view data) {
        if (data == "[DONE]") {
            done = true;
            return;
        }
        const std::string text = read_chunk(data, result);
        if (text.empty()) return;
        if (result.text.empty()) result.ttft_ms = seconds(clock.now() - begin) * 1e3;
        result.text += text;
        if (on_text) on_text(text);
    };
    while (true) {
        auto bytes = co_await exchange.read_body_some(kChunkTimeout);
        if (!bytes) {
            result.error = bytes.error().message;
            co_return result;
        }
        if (bytes->empty()) break;
        if (status != 200)
            refusal.append(*bytes);
        else
            events.feed(*bytes, on_event);
    }
    result.total_ms = seconds(clock.now() - begin) * 1e3;
    if (status != 200)
        result.error = "HTTP " + std::to_string(status) + ": " + error_text(refusal);
    else if (!done && result.error.empty())
        result.error = "the stream ended without [DONE]";
    co_return result;
}

Task<Result<std::vector<std::string>>> list_models(HttpClient& client, std::string host_port) {
    auto answer = co_await client.call(host_port, "GET", "/v1/models", {}, {},
                                       std::chrono::milliseconds(5'000));
    if (!answer)
        co_return make_error(
            answer.error().code,
            answer.error().message + "; `hearth up` starts a fleet, --router says where one is");
    if (answer->status == 404)
        co_return make_error(ErrorCode::kUnavailable,
                             host_port + " serves no models; is it an admin listener?");
    if (answer->status != 200)
        co_return make_error(ErrorCode::kUnavailable,
                             "GET http://" + host_port + "/v1/models: HTTP " +
                                 std::to_string(answer->status) + ": " + error_text(answer->body));
    std::vector<std::string> models;
    boost::system::error_code failed;
    const json::value value = json::parse(answer->body, failed);
    if (!failed && value.is_object())
        if (const auto* list = value.as_object().if_contains("data"); list && list->is_array())
            for (const json::value& entry : list->as_array())
                if (entry.is_object() && entry.as_object().contains("id") &&
                    entry.at("id").is_string())
                    models.emplace_back(entry.at("id").as_string());
    co_return models;
}

double metric_sum(const std::string& exposition, std::string_view name,
                  std::string_view label_part) {
    double sum = 0;
    std::size_t at = 0;
    while (at < exposition.size()) {
        const std::size_t end = std::min(exposition.find('\n', at), exposition.size());
        const std::string_view line(exposition.data() + at, end - at);
        at = end + 1;
        if (line.substr(0, name.size()) != name) continue;
        const char after = line.size() > name.size() ? line[name.size()] : '\0';
        if (after != '{' && after != ' ') continue;
        if (!label_part.empty() && line.find(label_part) == std::string_view::npos) continue;
        const auto space = line.rfind(' ');
        sum += std::strtod(std::string(line.substr(space + 1)).c_str(), nullptr);
    }
    return sum;
}

}  // namespace hearth::cli
