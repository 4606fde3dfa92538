// placement_bench: what a placement costs at 10, 100 and 1,000 nodes: the bare search, the whole
// decision of a first turn and of a later one. Beside it the bound: reading the table once.
#include <algorithm>
#include <cstdio>
#include <limits>
#include <string>
#include <vector>

#include "common/base/clock.h"
#include "common/base/rng.h"
#include "router/placement/decide.h"

namespace hearth {
namespace {

constexpr int kRounds = 400;
constexpr int kKeys = 100;  // Per round; the best round counts.

std::uint64_t sink = 0;

template <typename Work>
double best_ns(const Work& work) {
    const Clock& clock = SystemClock::instance();
    Rng rng(1);
    double best = std::numeric_limits<double>::infinity();
    for (int round = 0; round < kRounds; ++round) {
        std::vector<SessionKey> keys(kKeys);
        for (SessionKey& key : keys) key = {rng.next(), rng.next()};
        const MonotonicNs start = clock.now();
        for (const SessionKey& key : keys) sink += work(key);
        best = std::min(best, static_cast<double>(clock.now() - start) / kKeys);
    }
    return best;
}

struct Fleet {
    std::vector<Seat> seats;
    SeatTable table;
    std::vector<SeatState> states;
};

// `weights`: how many different ones there are.
Fleet fleet_of(std::size_t nodes, std::size_t weights) {
    Fleet fleet;
    for (std::size_t n = 0; n < nodes; ++n) {
        const double weight = 1 + 0.001 * static_cast<double>(n % weights);
        fleet.seats.push_back({node_hash("node-" + std::to_string(n)), weight});
        fleet.states.push_back({true, static_cast<double>(n % 7), 0, 1'000});
    }
    fleet.table = SeatTable(fleet.seats);
    return fleet;
}

void measure(std::size_t nodes, std::size_t weights) {
    const Fleet fleet = fleet_of(nodes, weights);
    const SeatStates states = [&fleet](std::uint32_t seat) { return fleet.states[seat]; };
    Situation first, later;
    first.first_turn = true;
    later.bound = 0;
    later.tokens = 4'000;
    const double read = best_ns([&](const SessionKey& key) {
        std::uint64_t sum = key.low;
        for (const Seat& seat : fleet.seats) sum += seat.node_hash;
        return sum;
    });
    const double top =
        best_ns([&](const SessionKey& key) { return fleet.table.top(key, 2).seats[1]; });
    const double first_turn = best_ns([&](const SessionKey& key) {
        return decide(fleet.table, key, first, states, 100).choice->seat;
    });
    const double later_turn = best_ns([&](const SessionKey& key) {
        return decide(fleet.table, key, later, states, 100).choice->seat;
    });
    std::printf(
        "%5zu nodes, %4zu weights: home and heir %7.0f ns, first turn %7.0f ns, "
        "later turn %7.0f ns (reading the seats once: %.0f ns)\n",
        nodes, weights, top, first_turn, later_turn, read);
}

}  // namespace
}  // namespace hearth

int main(int argc, char**) {
    if (argc > 1) {
        std::fprintf(stderr, "usage: hearth bench placement\n");
        return 2;
    }
    for (const std::size_t nodes : {10u, 100u, 1'000u}) {
        hearth::measure(nodes, 1);
        hearth::measure(nodes, 5);
        hearth::measure(nodes, nodes);
    }
    std::printf("(%llu)\n", static_cast<unsigned long long>(hearth::sink % 10));
}
