// Reads affinity, cgroup v2 and sysfs; nothing here is needed more than once a process.
#include "common/base/machine.h"

#include <linux/mempolicy.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <climits>
#include <cmath>
#include <fstream>

namespace hearth {
namespace {

constexpr int kCpusMax = 4'096;
using CpuMask = std::array<unsigned long, kCpusMax / (CHAR_BIT * sizeof(unsigned long))>;
constexpr std::size_t kMaskBits = CHAR_BIT * sizeof(unsigned long);

void set_bit(CpuMask& mask, int at) {
    const auto bit = static_cast<std::size_t>(at);
    mask[bit / kMaskBits] |= 1ul << bit % kMaskBits;
}

std::vector<int> allowed_cpus() {
    CpuMask mask{};
    // The system call, since glibc's wants a cpu_set_t, which ends at 1,024.
    const long bytes = ::syscall(SYS_sched_getaffinity, 0, sizeof mask, mask.data());
    std::vector<int> cpus;
    for (int cpu = 0; cpu < bytes * CHAR_BIT; ++cpu) {
        const auto bit = static_cast<std::size_t>(cpu);
        if ((mask[bit / kMaskBits] >> bit % kMaskBits & 1) != 0) cpus.push_back(cpu);
    }
    if (cpus.empty()) cpus.push_back(0);
    return cpus;
}

std::string first_line(const std::string& path) {
    std::ifstream file(path);
    std::string line;
    std::getline(file, line);
    return line;
}

// "200000 100000": so many microseconds in each such period; "max 100000": no bound.
double quota_of(const std::string& line) {
    double quota = 0, period = 0;
    const char* const end = line.data() + line.size();
    const auto [rest, failed] = std::from_chars(line.data(), end, quota);
    if (failed != std::errc() || rest == end) return 0;
    if (std::from_chars(rest + 1, end, period).ec != std::errc() || period <= 0) return 0;
    return quota / period;
}

// The least of the process's group and those above it.
double least_quota(const std::string& root) {
    std::string group = first_line(root + "proc/self/cgroup");  // "0::/system.slice/x.service"
    if (group.rfind("0::/", 0) != 0) return 0;
    group.erase(0, 3);
    double least = 0;
    for (;;) {
        const double quota = quota_of(first_line(root + "sys/fs/cgroup" + group + "/cpu.max"));
        if (quota > 0 && (least == 0 || quota < least)) least = quota;
        if (group.empty() || group == "/") return least;
        group.erase(group.find_last_of('/'));
    }
}

std::vector<std::vector<int>> read_memory_nodes(const std::string& root) {
    std::vector<std::vector<int>> nodes;
    const auto online = parse_cpu_list(first_line(root + "sys/devices/system/node/online"));
    if (!online) return nodes;
    for (const int node : *online) {
        const auto cpus = parse_cpu_list(
            first_line(root + "sys/devices/system/node/node" + std::to_string(node) + "/cpulist"));
        nodes.resize(static_cast<std::size_t>(node) + 1);
        if (cpus) nodes.back() = *cpus;
    }
    return nodes;
}

Error bad_list(std::string_view text, const std::string& why) {
    return make_error(ErrorCode::kInvalidArgument, "'" + std::string(text) + "': " + why);
}

}  // namespace

int Machine::threads() const {
    const int all = static_cast<int>(cpus.size());
    if (quota <= 0 || quota >= all) return all;
    return std::max(1, static_cast<int>(std::floor(quota)));
}

Machine read_machine(const std::string& root) {
    const auto online = parse_cpu_list(first_line(root + "sys/devices/system/cpu/online"));
    return {allowed_cpus(), least_quota(root), read_memory_nodes(root),
            online ? static_cast<int>(online->size()) : 0};
}

Result<std::vector<int>> parse_cpu_list(std::string_view text) {
    std::vector<int> cpus;
    const char* at = text.data();
    const char* const end = at + text.size();
    for (;;) {
        int first = 0;
        auto read = std::from_chars(at, end, first);
        int last = first;
        if (read.ec == std::errc() && read.ptr != end && *read.ptr == '-')
            read = std::from_chars(read.ptr + 1, end, last);
        if (read.ec != std::errc() || first < 0)
            return bad_list(text, "must be a list of processors such as 0-3,8");
        if (last < first) return bad_list(text, "a range must ascend");
        if (last >= kCpusMax)
            return bad_list(text, "processors go up to " + std::to_string(kCpusMax - 1));
        for (int cpu = first; cpu <= last; ++cpu) cpus.push_back(cpu);
        if (read.ptr == end) break;
        if (*read.ptr != ',') return bad_list(text, "must be a list of processors such as 0-3,8");
        at = read.ptr + 1;
    }
    std::sort(cpus.begin(), cpus.end());
    cpus.erase(std::unique(cpus.begin(), cpus.end()), cpus.end());
    return cpus;
}

std::string cpu_list(const std::vector<int>& cpus) {
    std::string text;
    for (std::size_t i = 0; i < cpus.size(); ++i) {
        const std::size_t first = i;
        while (i + 1 < cpus.size() && cpus[i + 1] == cpus[i] + 1) ++i;
        if (!text.empty()) text += ',';
        text += std::to_string(cpus[first]);
        if (i > first) text += '-' + std::to_string(cpus[i]);
    }
    return text;
}

bool pin_this_thread(int cpu) {
    CpuMask mask{};
    set_bit(mask, cpu);
    return ::syscall(SYS_sched_setaffinity, 0, sizeof mask, mask.data()) == 0;
}

bool prefer_memory_of(const std::vector<int>& nodes) {
    CpuMask mask{};
    for (const int node : nodes) set_bit(mask, node);
    const int policy = nodes.size() == 1 ? MPOL_PREFERRED : MPOL_INTERLEAVE;
    return ::syscall(SYS_set_mempolicy, policy, mask.data(), kCpusMax) == 0;
}

}  // namespace hearth
