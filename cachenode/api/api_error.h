// ApiError: an HTTP status with OpenAI's error object, and how failures of other rooms become one.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "common/base/result.h"

namespace hearth {

struct ApiError {
    int status = 400;
    std::string type = "invalid_request_error";
    std::string code;   // Empty = null.
    std::string param;  // Path of the field, "messages[2].role"; empty = null.
    std::string message;
    std::int64_t retry_after_s = 0;  // > 0: sent as Retry-After.

    std::string body() const;  // {"error":{...}}; any bytes in the message give valid JSON.
};

// A 400 about one field.
ApiError invalid_field(std::string param, std::string code, std::string message);

// A failure of the scheduler, of a body read or of a step, as the client sees it (design §10):
// kExhausted 429, kTooLarge 400 context_length_exceeded, kTimeout 408, kUnavailable and kCancelled
// 503, everything else 500. `retry_after_s` is used for 429 and 503.
ApiError api_error_from(const Error& error, std::int64_t retry_after_s);

// Why a body of at most `limit` bytes could not be read: 413, 408, 503 (kExhausted) or 400.
ApiError body_error(const Error& error, std::size_t limit);

}  // namespace hearth
