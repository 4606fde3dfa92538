// A program under test: hearth-router, nginx or HAProxy, started with a configuration made for it,
// or the least that a relay can do.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "tests/bench/router/upstream.h"

namespace hearth::bench {

enum class Kind { kHearth, kNginx, kHaproxy, kBare };

struct Recipe {
    std::string name;  // "hearth", "nginx", ...
    Kind kind = Kind::kHearth;
    bool logs = true;  // One line per request into a file.
};

// Where things are: `folder` takes configurations and logs, `cpu` is the core under test (-1: none
// to spare).
struct Bench {
    std::string hearth_router;
    std::string folder;
    Upstream upstream;
    int cpu = -1;
};

// What a process has used since its start.
struct Cost {
    double cpu_us = 0;
    // Of user and kernel; nothing where they may not be counted. On a machine that is shared, time
    // holds what others took of the core, cycles do not.
    std::optional<double> instructions, cycles;
};

// Owned by the benchmark; its end is the program's end.
class Subject {
  public:
    // Starts it alone on its core and waits until it listens.
    Subject(const Recipe& recipe, const Bench& bench);
    ~Subject();
    Subject(const Subject&) = delete;
    Subject& operator=(const Subject&) = delete;

    const std::string& name() const { return recipe_.name; }
    std::uint16_t port() const { return port_; }
    Cost cost() const;
    double resident_kib() const;

  private:
    void find_worker();

    Recipe recipe_;
    std::uint16_t port_ = 0;
    pid_t started_ = 0;
    pid_t worker_ = 0;                     // The process that serves.
    int instructions_ = -1, cycles_ = -1;  // Counters.
};

// The path of a program, or empty if it is not installed.
std::string find_program(const std::string& name);

}  // namespace hearth::bench
