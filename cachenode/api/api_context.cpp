// ApiContext: ids, headers and errors of every answer.
#include "cachenode/api/api_context.h"

#include <algorithm>
#include <cstdio>

#include "common/wire/headers.h"

namespace hearth {

std::string ApiContext::fresh_id(std::string_view prefix) {
    char digits[25];
    std::snprintf(digits, sizeof digits, "%016llx%08llx",
                  static_cast<unsigned long long>(rng.next()),
                  static_cast<unsigned long long>(rng.next() >> 32));
    return std::string(prefix) + digits;
}

HeaderList ApiContext::headers(std::string_view content_type, const std::string& request_id) const {
    HeaderList out = {{"content-type", std::string(content_type)},
                      {std::string(header::kNode), options.node_id}};
    if (!request_id.empty()) {
        out.emplace_back(header::kRequestId, request_id);
        out.emplace_back("x-request-id", request_id);
    }
    return out;
}

std::int64_t ApiContext::retry_after_s() const {
    const auto stats = parts.scheduler->stats();
    if (!stats || stats->prefill_tokens_per_s <= 0) return 1;
    const double wait = static_cast<double>(stats->queued_tokens) / stats->prefill_tokens_per_s;
    return static_cast<std::int64_t>(std::clamp(wait, 1.0, 30.0));
}

std::optional<ApiError> ApiContext::check_model(const std::string& name) const {
    if (name == options.model.name) return std::nullopt;
    ApiError error =
        invalid_field("model", "model_not_found",
                      "The model '" + name + "' does not exist here; this node serves '" +
                          options.model.name + "'.");
    error.status = 404;
    return error;
}

Task<void> ApiContext::fail(ServerExchange& exchange, ApiError error,
                            std::string request_id) const {
    HeaderList fields = headers("application/json", request_id);
    if (error.retry_after_s > 0)
        fields.emplace_back("retry-after", std::to_string(error.retry_after_s));
    const std::string body = error.body();
    (void)co_await exchange.respond(error.status, fields, body);
}

}  // namespace hearth
