// machine: the processors that this process may use, how many its cgroup grants, which memory lies
// beside them; and pinning.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "common/base/result.h"

namespace hearth {

struct Machine {
    std::vector<int> cpus;  // By affinity (taskset, cpuset), ascending; at least one.
    double quota = 0;       // Processors' worth of time by cgroup v2 (cpu.max); 0 = no bound.
    // By number of the memory node; empty where the system does not tell.
    std::vector<std::vector<int>> memory_nodes;
    int online = 0;  // Processors of the whole machine; 0 where the system does not tell.

    // How many threads can compute at once: a quota's fraction is left to others.
    int threads() const;
};

// Of the calling process, and at the calling thread's affinity. `root` holds proc/ and sys/.
Machine read_machine(const std::string& root = "/");

// "0-3,8" as the kernel writes it, into ascending numbers without repetition; kInvalidArgument says
// what is wrong. At most 4,096 processors.
Result<std::vector<int>> parse_cpu_list(std::string_view text);
std::string cpu_list(const std::vector<int>& cpus);  // The way back: "0-3,8".

// Binds the calling thread, and what it starts later, to one processor. False where the system
// refuses.
bool pin_this_thread(int cpu);

// From now on memory that this thread, or one that it starts later, is the first to touch comes
// from these nodes: from one as long as it has some, of several in turns (set_mempolicy(2)). False
// where the system refuses, as it does in containers without CAP_SYS_NICE.
bool prefer_memory_of(const std::vector<int>& nodes);

}  // namespace hearth
