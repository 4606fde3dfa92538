// What the members of a fleet prove to each other that they belong to it.
#pragma once

#include <string_view>

namespace hearth {

// Request header: the fleet's secret as it is. Between nodes, and from routers to nodes.
constexpr std::string_view kFleetSecretHeader = "hearth-fleet";

// Of nodes, for routers and nodes of their fleet, with a session's 32 hex digits: DELETE erases it
// there, {"bytes":N,"pages":N,"known":BOOL}; GET tells its last turns, {"turns":[...]}.
constexpr std::string_view kPeerSession = "/internal/v1/sessions/";

// Takes the same time wherever the two differ.
bool same_secret(std::string_view a, std::string_view b);

// Of an address or a Host field, with or without a port: 127.0.0.0/8, ::1 or localhost, which
// nobody but this machine can have. No other name, whatever it begins with.
bool is_loopback(std::string_view address);

}  // namespace hearth
