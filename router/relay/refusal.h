// Refusal: an answer that the router gives itself, in OpenAI's error shape.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "common/net/http_server.h"

namespace hearth {

struct Refusal {
    int status = 500;
    std::string_view code;        // For programs: "body_too_large", "no_node", ...
    std::string message;          // For people; holds nothing of the request but field names.
    std::string_view param = {};  // The field at fault, or empty.
    int retry_after_s = 0;        // 0 = no Retry-After.
    std::string_view type = {};   // Of the error; empty = by the status.
    HeaderList headers = {};      // More of the answer's fields.
};

// The error object: 4xx are the client's ("invalid_request_error"), the others the server's.
std::string refusal_body(const Refusal& refusal);

// The same as the last event of a stream. `named`: in the shape of /v1/responses, where `last` is
// the number of the event before it, if there is one.
std::string error_event(const Refusal& refusal, bool named, std::optional<std::uint64_t> last);

// Sends it. A client that is gone is no error here.
Task<void> refuse(ServerExchange& exchange, Refusal refusal, std::string request_id);

// What to tell a client whose request body could not be read.
Refusal body_refusal(const Error& error);

}  // namespace hearth
