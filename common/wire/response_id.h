// Ids of responses (/v1/responses): they carry the session, so that every router finds its node.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "common/wire/session_key.h"

namespace hearth {

// "resp_", the session's 32 hex digits, 16 more of the response's own.
std::string response_id(const SessionKey& session, std::uint64_t number);

// The session of an id that response_id() made; nothing for any other text.
std::optional<SessionKey> session_of_response(std::string_view id);

}  // namespace hearth
