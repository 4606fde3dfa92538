// ApiError: the error object's bytes and the table from error codes to HTTP.
#include "cachenode/api/api_error.h"

#include "cachenode/api/strict_json.h"
#include "common/net/http_server.h"

namespace hearth {

std::string ApiError::body() const {
    return error_body(to_valid_utf8(message), type, to_valid_utf8(param), code);
}

ApiError invalid_field(std::string param, std::string code, std::string message) {
    ApiError error;
    error.param = std::move(param);
    error.code = std::move(code);
    error.message = std::move(message);
    return error;
}

ApiError api_error_from(const Error& error, std::int64_t retry_after_s) {
    ApiError out;
    out.message = error.message;
    switch (error.code) {
        case ErrorCode::kExhausted:
            out.status = 429, out.type = "rate_limit_error", out.code = "queue_full";
            out.retry_after_s = retry_after_s;
            break;
        case ErrorCode::kTooLarge:
            out.status = 400, out.code = "context_length_exceeded", out.param = "messages";
            break;
        case ErrorCode::kInvalidArgument: out.status = 400, out.code = "invalid_value"; break;
        case ErrorCode::kTimeout:
            out.status = 408, out.type = "timeout", out.code = "deadline";
            break;
        case ErrorCode::kUnavailable:
        case ErrorCode::kCancelled:
            out.status = 503, out.type = "server_error", out.code = "draining";
            out.retry_after_s = retry_after_s;
            break;
        default: out.status = 500, out.type = "server_error", out.code = "internal"; break;
    }
    return out;
}

ApiError body_error(const Error& error, std::size_t limit) {
    ApiError out = invalid_field("", "invalid_body", "The body is incomplete or badly framed.");
    if (error.code == ErrorCode::kTooLarge) {
        out.status = 413;
        out.code = "body_too_large";
        out.message = "The body is larger than " + std::to_string(limit) + " bytes.";
    } else if (error.code == ErrorCode::kTimeout) {
        out.status = 408;
        out.type = "timeout";
        out.code = "body_timeout";
        out.message = "The body did not arrive in time.";
    } else if (error.code == ErrorCode::kExhausted) {
        out.status = 503;
        out.type = "server_error";
        out.code = "overloaded";
        out.message = "The node holds too many request bodies; try again.";
        out.retry_after_s = 1;
    }
    return out;
}

}  // namespace hearth
