// What a supervisor such as systemd passes to a program and hears from it, without its library.
#pragma once

#include <chrono>
#include <string_view>
#include <vector>

namespace hearth {

// The listening sockets that were opened for this process (sd_listen_fds(3): LISTEN_PID,
// LISTEN_FDS), in the order of the unit file. They are the caller's. Empty when there are none.
std::vector<int> inherited_listeners();

// Sends a state such as "READY=1" or "STOPPING=1" (sd_notify(3)) to $NOTIFY_SOCKET. Does nothing
// without one; never blocks.
void tell_supervisor(std::string_view state);

// Within what time the supervisor wants to hear "WATCHDOG=1" (sd_watchdog_enabled(3)); 0 = it does
// not watch this process.
std::chrono::microseconds watchdog_limit();

}  // namespace hearth
