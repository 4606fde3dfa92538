// The least that a relay can do: what no proxy on this machine can be cheaper than.
#pragma once

#include <cstdint>
#include <span>

namespace hearth::bench {

// Listens on `port` and passes bytes on, each client's to a connection of its own: two reads, two
// sends and a share of an epoll_wait for a request and its answer, and no look at what they say.
// Serves until the process is ended.
[[noreturn]] void relay_barely(std::uint16_t port, std::span<const std::uint16_t> nodes);

}  // namespace hearth::bench
