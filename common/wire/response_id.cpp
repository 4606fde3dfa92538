// Ids of responses: written by nodes, read by routers and nodes.
#include "common/wire/response_id.h"

#include <cstdio>

namespace hearth {

namespace {

constexpr std::string_view kFront = "resp_";
constexpr std::size_t kSessionDigits = 32, kOwnDigits = 16;

}  // namespace

std::string response_id(const SessionKey& session, std::uint64_t number) {
    char digits[kOwnDigits + 1];
    std::snprintf(digits, sizeof digits, "%016llx", static_cast<unsigned long long>(number));
    return std::string(kFront) + session.hex() + digits;
}

std::optional<SessionKey> session_of_response(std::string_view id) {
    if (!id.starts_with(kFront)) return std::nullopt;
    id.remove_prefix(kFront.size());
    if (id.size() != kSessionDigits + kOwnDigits ||
        id.find_first_not_of("0123456789abcdef") != std::string_view::npos)
        return std::nullopt;
    const auto key = SessionKey::from_hex(id.substr(0, kSessionDigits));
    if (!key.ok()) return std::nullopt;
    return *key;
}

}  // namespace hearth
