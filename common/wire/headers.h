// The header names that router, node and clients share.
#pragma once

#include <string_view>

namespace hearth::header {

constexpr std::string_view kSession = "hearth-session";  // 32 hex digits; set by the router only.
constexpr std::string_view kRequestId = "hearth-request-id";
constexpr std::string_view kDeadline = "hearth-deadline";  // Milliseconds left, decimal.
constexpr std::string_view kTenant = "hearth-tenant";      // Tenant salt, hex; router only.
constexpr std::string_view kRoute = "hearth-route";        // node=<id>;reason=<r>;key=<source>
constexpr std::string_view kMovedTo = "hearth-moved-to";   // Node id that now holds the session.
constexpr std::string_view kNode = "hearth-node";          // Node id that answered.

}  // namespace hearth::header
