// The nodes behind the router under test: a process of its own that answers as fast as it can.
#pragma once

#include <sys/types.h>

#include <array>
#include <cstddef>
#include <cstdint>

namespace hearth::bench {

constexpr std::size_t kNodes = 3;
constexpr std::uint64_t kEventsPerStream = 256;
constexpr std::size_t kStreamGroups = 4;  // A stream has an event every so many milliseconds.

// Paths say what the answer is: kAnswerPath 1 KiB with a length; kStreamPath kEventsPerStream
// events, one write each, paced; kHoldPath one event and then nothing until the connection closes.
// nginx has one place for all that streams, so those begin alike.
constexpr const char* kAnswerPath = "/v1/chat/completions";
constexpr const char* kStreamPath = "/v1/completions";
constexpr const char* kHoldPath = "/v1/completions?hold=1";

struct Upstream {
    pid_t pid = 0;
    std::array<std::uint16_t, kNodes> ports{};
};

// Forks it; it ends with its parent.
Upstream start_upstream();

}  // namespace hearth::bench
