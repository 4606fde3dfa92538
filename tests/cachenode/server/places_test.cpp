// place_threads: how threads are counted and pinned on machines of every kind.
#include "cachenode/places.h"

#include <gtest/gtest.h>

#include <numeric>

namespace hearth {
namespace {

using Cpus = std::vector<int>;

Cpus range(int first, int last) {
    Cpus cpus(static_cast<std::size_t>(last - first + 1));
    std::iota(cpus.begin(), cpus.end(), first);
    return cpus;
}

// Processors that a process was given, of a machine with `online`.
Machine machine_of(Cpus cpus, double quota = 0, int online = 0) {
    const int all = online > 0 ? online : static_cast<int>(cpus.size());
    return {std::move(cpus), quota, {}, all};
}

TEST(Places, AreChosenByTable) {
    struct Case {
        const char* what;
        Machine machine;
        std::int32_t threads;
        const char* cpus;
        std::int32_t want_threads;
        Cpus want_cpus;
    };
    const Case cases[] = {
        {"one core", machine_of({0}), 0, "auto", 1, {}},
        {"two cores: none is left idle", machine_of(range(0, 1)), 0, "auto", 2, {}},
        {"four: one is the router's", machine_of(range(0, 3)), 0, "auto", 3, {}},
        {"a number", machine_of(range(0, 7)), 2, "auto", 2, {}},
        {"more than there are", machine_of(range(0, 3)), 9, "auto", 9, {}},
        {"a cpuset", machine_of({4, 6, 8, 10}, 0, 16), 0, "auto", 3, {6, 8, 10}},
        {"a small one", machine_of({4, 6}, 0, 16), 0, "auto", 2, {4, 6}},
        {"all of it", machine_of({4, 6, 8, 10}, 0, 16), 4, "auto", 4, {4, 6, 8, 10}},
        {"some of it", machine_of({4, 6, 8, 10}, 0, 16), 2, "auto", 2, {8, 10}},
        {"more than it has", machine_of({4, 6}, 0, 16), 3, "auto", 3, {}},
        {"a cpuset, not pinned", machine_of({4, 6}, 0, 16), 0, "any", 2, {}},
        {"a quota", machine_of(range(0, 63), 4.5), 0, "auto", 4, {}},
        {"a quota of half a core", machine_of(range(0, 63), 0.5), 0, "auto", 1, {}},
        {"a quota beyond the machine", machine_of(range(0, 3), 16), 0, "auto", 3, {}},
        {"a quota within a cpuset", machine_of(range(4, 7), 2, 16), 0, "auto", 2, {}},
        {"a list", machine_of(range(0, 7)), 0, "0,2-3", 3, {0, 2, 3}},
        {"the first of a list", machine_of(range(0, 7)), 2, "4-7", 2, {4, 5}},
        {"a list says more than a quota", machine_of(range(0, 7), 2), 0, "0-3", 4, range(0, 3)},
    };
    for (const Case& each : cases) {
        const auto got = place_threads(each.machine, each.threads, each.cpus);
        ASSERT_TRUE(got.ok()) << each.what << ": " << got.error().message;
        EXPECT_EQ(got->threads, each.want_threads) << each.what;
        EXPECT_EQ(got->cpus, each.want_cpus) << each.what;
        EXPECT_TRUE(got->memory_nodes.empty()) << each.what;
    }
}

TEST(Places, NameTheirFaults) {
    const std::tuple<std::int32_t, const char*, const char*> cases[] = {
        {0, "some", "cpus: 'some'"},
        {0, "2-8", "may not use processor 8, only 0-7"},
        {5, "0-3", "threads: 5 are more than the 4 processors"},
    };
    for (const auto& [threads, cpus, want] : cases) {
        const auto got = place_threads(machine_of(range(0, 7)), threads, cpus);
        ASSERT_FALSE(got.ok()) << cpus;
        EXPECT_EQ(got.error().code, ErrorCode::kInvalidArgument);
        EXPECT_NE(got.error().message.find(want), std::string::npos) << got.error().message;
    }
}

TEST(Places, MemoryIsThatOfTheThreads) {
    Machine machine = machine_of(range(0, 7));
    machine.memory_nodes = {range(0, 3), range(4, 7)};
    EXPECT_EQ(place_threads(machine, 0, "auto")->memory_nodes, (Cpus{0, 1}));
    EXPECT_EQ(place_threads(machine, 0, "any")->memory_nodes, (Cpus{0, 1}));
    EXPECT_EQ(place_threads(machine, 0, "4-7")->memory_nodes, Cpus{1});
    EXPECT_EQ(place_threads(machine, 2, "3-4")->memory_nodes, (Cpus{0, 1}));
    machine.memory_nodes = {range(0, 7)};
    EXPECT_TRUE(place_threads(machine, 0, "4-7")->memory_nodes.empty());
}

}  // namespace
}  // namespace hearth
