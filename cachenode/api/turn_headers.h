// TurnHeaders: what a turn's request head says: who asks, for which session, until when.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "cachenode/api/api_error.h"
#include "common/net/http_head.h"
#include "common/wire/session_key.h"

namespace hearth {

struct TurnHeaders {
    std::string request_id;             // Safe to echo; empty = none was sent, or not a safe one.
    std::optional<SessionKey> session;  // hearth-session; set by the router.
    std::string salt;                   // hearth-tenant, bytes as sent (hex).
    std::optional<std::int64_t> deadline_ms;        // hearth-deadline: milliseconds left.
    std::optional<std::int64_t> follow_up_bonus_s;  // hearth-follow-up-bonus
    std::int64_t keep_s = 0;                        // hearth-keep; 0 = no soft pin.
    std::int64_t epoch = 0;                  // hearth-epoch: of the router's binding; 0 = none.
    bool continuable = false;                // hearth-continuable: the router may need an heir ...
    bool knows_groups = false;               // ... and what it knows: see there.
    std::string continues;                   // hearth-continue: the turn to go on with; or empty.
    std::size_t forced_bytes = 0;            // hearth-forced-bytes
    std::optional<std::int64_t> last_event;  // hearth-last-event
};

// Pure. A malformed session, tenant or deadline is a 400 that names the header; a malformed request
// id is dropped, as it only labels.
std::optional<ApiError> read_turn_headers(const RequestHead& head, TurnHeaders& out);

}  // namespace hearth
