// Rendezvous scores, and the search for the best few without sorting and (nearly) without logs.
#include "common/wire/placement.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "common/base/check.h"
#include "common/base/rng.h"

namespace hearth {
namespace {

__extension__ using Wide = unsigned __int128;

// 53 bits of u. Session keys are digests, so that both words are random already.
std::uint64_t draw(std::uint64_t first, std::uint64_t second, const SessionKey& key) {
    const Wide product = static_cast<Wide>(first + key.high) * (second + key.low);
    const auto folded =
        static_cast<std::uint64_t>(product) ^ static_cast<std::uint64_t>(product >> 64);
    return folded >> 11;
}

// -ln(u) / weight: the inverse of the score, so the smallest wins.
double distance(std::uint64_t bits, double weight) {
    return -std::log((static_cast<double>(bits) + 0.5) * 0x1.0p-53) / weight;
}

struct Candidate {
    std::uint64_t bits = 0;
    double weight = 0;
    std::uint64_t node_hash = 0;
    std::uint32_t entry = 0;
};

bool before(const Candidate& a, const Candidate& b) {
    if (a.weight != b.weight) {
        const double da = distance(a.bits, a.weight), db = distance(b.bits, b.weight);
        if (da != db) return da < db;
    } else if (a.bits != b.bits) {
        return a.bits > b.bits;
    }
    return a.node_hash < b.node_hash;
}

}  // namespace

// FNV-1a over the name, then a finaliser: names that differ in one digit must not be neighbours.
std::uint64_t node_hash(std::string_view node_id) {
    std::uint64_t hash = 0xcbf29ce484222325ULL;
    for (const char c : node_id) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3ULL;
    return mix64(hash);
}

double seat_score(const SessionKey& key, const Seat& seat) {
    return 1 / distance(draw(seat.node_hash, mix64(seat.node_hash), key), seat.weight);
}

SeatTable::SeatTable(const std::vector<Seat>& seats) : seat_(seats.size()) {
    for (std::uint32_t i = 0; i < seats.size(); ++i) seat_[i] = i;
    std::stable_sort(seat_.begin(), seat_.end(), [&](std::uint32_t a, std::uint32_t b) {
        return seats[a].weight > seats[b].weight;
    });
    for (const std::uint32_t seat : seat_) {
        const auto& [hash, weight] = seats[seat];
        CHECK(weight > 0);
        entries_.push_back({hash, mix64(hash)});
        if (groups_.empty() || groups_.back().weight != weight) groups_.push_back({weight, 0});
        groups_.back().end = entries_.size();
    }
}

// The best few so far, best first.
class SeatTable::Best {
  public:
    explicit Best(std::size_t k) : k_(k) {}

    void offer(const Candidate& candidate) {
        if (count_ == k_ && !before(candidate, best_[count_ - 1])) return;
        if (count_ < k_) ++count_;
        std::size_t at = count_ - 1;
        for (; at > 0 && before(candidate, best_[at - 1]); --at) best_[at] = best_[at - 1];
        best_[at] = candidate;
        if (count_ == k_) last_distance_ = -1;
    }
    // Draws below this cannot be among the best for a member of this weight. As -ln(u) > 1 - u, a
    // line is bound enough between different weights.
    std::uint64_t bar(double weight) {
        if (count_ < k_) return 0;
        const Candidate& last = best_[count_ - 1];
        if (last.weight == weight) return last.bits;
        if (last_distance_ < 0) last_distance_ = distance(last.bits, last.weight);
        const double u = 1 - weight * last_distance_ * (1 + 0x1.0p-40);
        return u <= 0 ? 0 : static_cast<std::uint64_t>(static_cast<std::int64_t>(u * 0x1.0p53));
    }
    Top seats(const std::vector<std::uint32_t>& seat) const {
        Top top;
        for (; top.count < count_; ++top.count) top.seats[top.count] = seat[best_[top.count].entry];
        return top;
    }

  private:
    std::size_t k_, count_ = 0;
    double last_distance_ = -1;  // Of the last of the best; -1 = not worked out.
    std::array<Candidate, kTopMax> best_;
};

SeatTable::Top SeatTable::top(const SessionKey& key, std::size_t k) const {
    CHECK(k >= 1 && k <= kTopMax);
    Best best(k);
    std::size_t i = 0;
    for (const Group& group : groups_) {
        std::uint64_t bar = best.bar(group.weight);
        for (; i < group.end; ++i) {
            const Entry& entry = entries_[i];
            const std::uint64_t bits = draw(entry.first, entry.second, key);
            if (bits < bar) [[likely]]
                continue;
            best.offer({bits, group.weight, entry.first, static_cast<std::uint32_t>(i)});
            bar = best.bar(group.weight);
        }
    }
    return best.seats(seat_);
}

std::vector<std::uint32_t> SeatTable::order(const SessionKey& key) const {
    std::vector<Candidate> all(entries_.size());
    std::size_t i = 0;
    for (const Group& group : groups_)
        for (; i < group.end; ++i)
            all[i] = {draw(entries_[i].first, entries_[i].second, key), group.weight,
                      entries_[i].first, static_cast<std::uint32_t>(i)};
    std::sort(all.begin(), all.end(), before);
    std::vector<std::uint32_t> order;
    order.reserve(all.size());
    for (const Candidate& candidate : all) order.push_back(seat_[candidate.entry]);
    return order;
}

}  // namespace hearth
