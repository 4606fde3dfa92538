// TurnHeaders: parsing of the hearth-* request headers.
#include "cachenode/api/turn_headers.h"

#include <algorithm>
#include <charconv>
#include <string_view>

#include "common/wire/headers.h"

namespace hearth {

namespace {

constexpr std::size_t kRequestIdBytesMax = 128;
constexpr std::size_t kTenantDigitsMax = 64;
constexpr std::int64_t kKeepSecondsMax = 86'400;
constexpr std::int64_t kDeadlineMsMax = 86'400'000;

bool is_hex(std::string_view text) {
    return std::all_of(text.begin(), text.end(), [](char c) {
        return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
    });
}

// Ids go into logs and headers: nothing that could break a line or a quote.
bool is_safe_id(std::string_view text) {
    const auto safe = [](char c) {
        return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
               std::string_view("-_.:").find(c) != std::string_view::npos;
    };
    return !text.empty() && text.size() <= kRequestIdBytesMax &&
           std::all_of(text.begin(), text.end(), safe);
}

ApiError bad_header(std::string_view name, std::string_view rule) {
    return invalid_field(std::string(name), "invalid_value",
                         "The header " + std::string(name) + " " + std::string(rule) + ".");
}

}  // namespace

std::optional<ApiError> read_turn_headers(const RequestHead& head, TurnHeaders& out) {
    for (const std::string_view name : {header::kRequestId, std::string_view("x-request-id")}) {
        const std::string_view id = head.find(name);
        if (out.request_id.empty() && is_safe_id(id)) out.request_id = id;
    }
    if (const std::string_view text = head.find(header::kSession); !text.empty()) {
        auto key = SessionKey::from_hex(text);
        if (!key.ok() || head.count(header::kSession) > 1)
            return bad_header(header::kSession, "must be 32 hex digits, once");
        out.session = *key;
    }
    if (const std::string_view text = head.find(header::kTenant); !text.empty()) {
        if (!is_hex(text) || text.size() > kTenantDigitsMax || head.count(header::kTenant) > 1)
            return bad_header(header::kTenant, "must be at most 64 hex digits, once");
        out.salt = text;
    }
    if (const std::string_view text = head.find(header::kDeadline); !text.empty()) {
        std::int64_t ms = -1;
        const char* end = text.data() + text.size();
        const auto parsed = std::from_chars(text.data(), end, ms);
        if (parsed.ec != std::errc{} || parsed.ptr != end || ms < 0 || ms > kDeadlineMsMax)
            return bad_header(header::kDeadline, "must be milliseconds, 0 to 86400000");
        out.deadline_ms = ms;
    }
    const auto seconds_of = [&head](std::string_view name, std::int64_t& value) {
        const std::string_view text = head.find(name);
        const auto parsed = std::from_chars(text.data(), text.data() + text.size(), value);
        return parsed.ec == std::errc{} && parsed.ptr == text.data() + text.size() && value >= 0 &&
               value <= kKeepSecondsMax;
    };
    if (!head.find(header::kFollowUpBonus).empty()) {
        std::int64_t bonus_s = 0;
        if (!seconds_of(header::kFollowUpBonus, bonus_s))
            return bad_header(header::kFollowUpBonus, "must be seconds, 0 to 86400");
        out.follow_up_bonus_s = bonus_s;
    }
    if (!head.find(header::kKeep).empty() && !seconds_of(header::kKeep, out.keep_s))
        return bad_header(header::kKeep, "must be seconds, 0 to 86400");
    if (const std::string_view text = head.find(header::kEpoch); !text.empty()) {
        const char* end = text.data() + text.size();
        const auto parsed = std::from_chars(text.data(), end, out.epoch);
        if (parsed.ec != std::errc{} || parsed.ptr != end || out.epoch < 0)
            return bad_header(header::kEpoch, "must be a number");
    }
    out.continues = head.find(header::kContinue);
    out.continuable = !head.find(header::kContinuable).empty() || !out.continues.empty();
    // Only what was begun for such a router is continued.
    out.knows_groups =
        head.find(header::kContinuable) == header::kKnowsGroups || !out.continues.empty();
    if (const std::string_view text = head.find(header::kForcedBytes); !text.empty()) {
        const char* end = text.data() + text.size();
        const auto parsed = std::from_chars(text.data(), end, out.forced_bytes);
        if (parsed.ec != std::errc{} || parsed.ptr != end)
            return bad_header(header::kForcedBytes, "must be a number of bytes");
    }
    if (const std::string_view text = head.find(header::kLastEvent); !text.empty()) {
        const char* end = text.data() + text.size();
        const auto parsed = std::from_chars(text.data(), end, out.last_event.emplace());
        if (parsed.ec != std::errc{} || parsed.ptr != end || *out.last_event < 0)
            return bad_header(header::kLastEvent, "must be a number");
    }
    return std::nullopt;
}

}  // namespace hearth
