// Error objects of the router's own making.
#include "router/relay/refusal.h"

namespace hearth {

std::string refusal_body(const Refusal& refusal) {
    std::string_view type = refusal.status < 500 ? "invalid_request_error" : "server_error";
    if (!refusal.type.empty()) type = refusal.type;
    return error_body(refusal.message, type, refusal.param, refusal.code);
}

std::string error_event(const Refusal& refusal, bool named, std::optional<std::uint64_t> last) {
    const std::string body = refusal_body(refusal);
    if (!named) return "data: " + body + "\n\n";
    // {"error":{...}} of another type; its members stand beside that type here.
    constexpr std::string_view kFront = "{\"error\":";
    const std::string fields = error_body(refusal.message, "error", refusal.param, refusal.code);
    const std::string members = fields.substr(kFront.size(), fields.size() - kFront.size() - 2);
    const std::string number = std::to_string(last ? *last + 1 : 0);
    return "event: error\ndata: " + members + ",\"sequence_number\":" + number + "," +
           body.substr(1) + "\n\n";
}

Task<void> refuse(ServerExchange& exchange, Refusal refusal, std::string request_id) {
    HeaderList headers{{"content-type", "application/json"}};
    if (!request_id.empty()) headers.emplace_back("x-request-id", std::move(request_id));
    if (refusal.retry_after_s > 0)
        headers.emplace_back("retry-after", std::to_string(refusal.retry_after_s));
    for (auto& field : refusal.headers) headers.push_back(std::move(field));
    const std::string body = refusal_body(refusal);
    (void)co_await exchange.respond(refusal.status, std::move(headers), body);
}

Refusal body_refusal(const Error& error) {
    switch (error.code) {
        case ErrorCode::kTooLarge: return {413, "body_too_large", error.message};
        case ErrorCode::kTimeout:
            return {408, "body_timeout", "the request body did not arrive in time"};
        case ErrorCode::kExhausted: return {503, "overloaded", error.message, {}, 1};
        default: return {400, "body_unreadable", "the request body is malformed: " + error.message};
    }
}

}  // namespace hearth
