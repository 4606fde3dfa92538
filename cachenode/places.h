// places: how many threads the engine gets, on which processors, with memory of which nodes.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "common/base/machine.h"
#include "common/base/result.h"

namespace hearth {

struct Places {
    std::int32_t threads = 1;
    std::vector<int> cpus;          // One a thread, or empty: the threads are not pinned.
    std::vector<int> memory_nodes;  // Beside those; empty where there is one or none to choose.
};

// `threads`: 0 = as many as can compute at once, but one left to the router, the network's thread
// and the disk's where there are four or more. `cpus`: a list such as 1-7, "any" (never pinned), or
// "auto": pinned where this process was given some of the machine's processors, else the machine
// may have other tenants, such as another node, and only the kernel can place them all.
// kInvalidArgument names the setting and its fault.
Result<Places> place_threads(const Machine& machine, std::int32_t threads, std::string_view cpus);

}  // namespace hearth
