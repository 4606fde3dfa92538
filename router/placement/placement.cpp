// Rendezvous scores, the order they give, and the choice for one turn.
#include "router/placement/placement.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "common/base/rng.h"

namespace hearth {

const char* to_string(Reason reason) {
    switch (reason) {
        case Reason::kHome: return "home";
        case Reason::kBound: return "bound";
        case Reason::kHeir: return "heir";
        case Reason::kMoved: return "moved";
    }
    return "unknown";
}

// FNV-1a over the name, then a finaliser: names that differ in one digit must not be neighbours.
std::uint64_t node_hash(std::string_view node_id) {
    std::uint64_t hash = 0xcbf29ce484222325ULL;
    for (const char c : node_id) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3ULL;
    return mix64(hash);
}

double seat_score(const SessionKey& key, const Seat& seat) {
    const std::uint64_t mixed = mix64(key.high ^ mix64(key.low ^ seat.node_hash));
    const double u = (static_cast<double>(mixed >> 11) + 0.5) * 0x1.0p-53;
    return -seat.weight / std::log(u);
}

std::vector<std::uint32_t> seat_order(const SessionKey& key, const std::vector<Seat>& seats) {
    std::vector<std::pair<double, std::uint32_t>> scored(seats.size());
    for (std::uint32_t i = 0; i < seats.size(); ++i) scored[i] = {seat_score(key, seats[i]), i};
    std::sort(scored.begin(), scored.end(), [&](const auto& a, const auto& b) {
        if (a.first != b.first) return a.first > b.first;
        return seats[a.second].node_hash < seats[b.second].node_hash;
    });
    std::vector<std::uint32_t> order(seats.size());
    for (std::size_t i = 0; i < scored.size(); ++i) order[i] = scored[i].second;
    return order;
}

std::optional<Choice> choose(const std::vector<std::uint32_t>& order, const Situation& situation,
                             const std::function<bool(std::uint32_t)>& usable,
                             const std::function<double(std::uint32_t)>& load) {
    if (order.empty()) return std::nullopt;
    const std::uint32_t home = order.front();
    if (situation.bound && usable(*situation.bound)) {
        if (situation.moved) return Choice{*situation.bound, Reason::kMoved};
        return Choice{*situation.bound, *situation.bound == home ? Reason::kHome : Reason::kBound};
    }
    const bool two = order.size() > 1 && usable(home) && usable(order[1]);
    if (situation.first_turn && two && load(order[1]) < load(home))
        return Choice{order[1], Reason::kHeir};
    for (const std::uint32_t seat : order)
        if (usable(seat)) return Choice{seat, seat == home ? Reason::kHome : Reason::kHeir};
    return std::nullopt;
}

}  // namespace hearth
