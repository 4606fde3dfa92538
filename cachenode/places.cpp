// places: a small table of cases; see places_test.cpp.
#include "cachenode/places.h"

#include <algorithm>
#include <string>

namespace hearth {
namespace {

constexpr int kSparedFrom = 4;  // Processors; with fewer, one is too much to leave idle.

// The nodes that have one of the processors.
std::vector<int> nodes_of(const Machine& machine, const std::vector<int>& cpus) {
    std::vector<int> nodes;
    if (machine.memory_nodes.size() < 2) return nodes;
    for (std::size_t node = 0; node < machine.memory_nodes.size(); ++node) {
        const std::vector<int>& here = machine.memory_nodes[node];
        const bool has_one = std::any_of(cpus.begin(), cpus.end(), [&](int cpu) {
            return std::find(here.begin(), here.end(), cpu) != here.end();
        });
        if (has_one) nodes.push_back(static_cast<int>(node));
    }
    return nodes;
}

Result<Places> place_on(const Machine& machine, std::int32_t threads, std::string_view list) {
    auto cpus = parse_cpu_list(list);
    if (!cpus) return make_error(cpus.error().code, "cpus: " + cpus.error().message);
    for (const int cpu : *cpus)
        if (!std::binary_search(machine.cpus.begin(), machine.cpus.end(), cpu))
            return make_error(ErrorCode::kInvalidArgument,
                              "cpus: this process may not use processor " + std::to_string(cpu) +
                                  ", only " + cpu_list(machine.cpus));
    const auto listed = static_cast<std::int32_t>(cpus->size());
    if (threads > listed)
        return make_error(ErrorCode::kInvalidArgument,
                          "threads: " + std::to_string(threads) + " are more than the " +
                              std::to_string(listed) + " processors of cpus");
    if (threads > 0) cpus->resize(static_cast<std::size_t>(threads));
    Places places;
    places.threads = static_cast<std::int32_t>(cpus->size());
    places.memory_nodes = nodes_of(machine, *cpus);
    places.cpus = std::move(*cpus);
    return places;
}

}  // namespace

Result<Places> place_threads(const Machine& machine, std::int32_t threads, std::string_view cpus) {
    if (cpus != "auto" && cpus != "any") return place_on(machine, threads, cpus);
    const int all = static_cast<int>(machine.cpus.size());
    const int spared = all >= kSparedFrom ? 1 : 0;
    Places places;
    places.threads = threads > 0 ? threads : std::min(machine.threads(), all - spared);
    // The last ones, so that those that are spared are the first: interrupts mostly go there.
    const bool has_its_own = all < machine.online && machine.threads() == all;
    if (cpus == "auto" && has_its_own && places.threads <= all)
        places.cpus.assign(machine.cpus.end() - places.threads, machine.cpus.end());
    places.memory_nodes = nodes_of(machine, places.cpus.empty() ? machine.cpus : places.cpus);
    return places;
}

}  // namespace hearth
