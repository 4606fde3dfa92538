// Reads /proc/self for CPU time, memory, threads, files and start time of this process.
#include "common/metrics/process_metrics.h"

#include <sys/resource.h>
#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string_view>
#include <vector>

namespace hearth {
namespace {

void append(std::string& out, const char* name, const char* type, const char* help, double value) {
    char text[400];
    std::snprintf(text, sizeof(text), "# HELP %s %s\n# TYPE %s %s\n%s %.17g\n", name, help, name,
                  type, name, value);
    out += text;
}

// Fields of /proc/self/stat after the command name, so that [0] is the state (proc(5), field 3).
std::vector<std::string> stat_fields() {
    std::ifstream in("/proc/self/stat");
    std::stringstream text;
    text << in.rdbuf();
    const std::string all = text.str();
    const auto end = all.rfind(')');
    std::vector<std::string> fields;
    if (end == std::string::npos) return fields;
    std::istringstream rest(all.substr(end + 1));
    for (std::string field; rest >> field;) fields.push_back(field);
    return fields;
}

double boot_time_seconds() {
    std::ifstream in("/proc/stat");
    for (std::string key; in >> key;) {
        if (key == "btime") {
            double value = 0;
            in >> value;
            return value;
        }
        in.ignore(1 << 20, '\n');
    }
    return 0;
}

}  // namespace

std::string process_metrics() {
    std::string out;
    const auto fields = stat_fields();
    const double ticks = static_cast<double>(sysconf(_SC_CLK_TCK));
    if (fields.size() > 21 && ticks > 0) {
        const auto number = [&fields](std::size_t i) {
            return std::strtod(fields[i].c_str(), nullptr);
        };
        append(out, "process_cpu_seconds_total", "counter", "User and system CPU time.",
               (number(11) + number(12)) / ticks);
        append(out, "process_threads", "gauge", "Threads of the process.", number(17));
        append(out, "process_start_time_seconds", "gauge", "Unix time of the process's start.",
               boot_time_seconds() + number(19) / ticks);
        append(out, "process_virtual_memory_bytes", "gauge", "Virtual memory.", number(20));
        append(out, "process_resident_memory_bytes", "gauge", "Resident memory.",
               number(21) * static_cast<double>(sysconf(_SC_PAGESIZE)));
    }
    std::error_code failed;
    double files = 0;
    for (std::filesystem::directory_iterator it("/proc/self/fd", failed), end; !failed && it != end;
         it.increment(failed))
        ++files;
    if (files > 0) append(out, "process_open_fds", "gauge", "Open file descriptors.", files);
    rlimit most{};
    if (getrlimit(RLIMIT_NOFILE, &most) == 0)
        append(out, "process_max_fds", "gauge", "Open file descriptors allowed.",
               static_cast<double>(most.rlim_cur));
    return out;
}

}  // namespace hearth
