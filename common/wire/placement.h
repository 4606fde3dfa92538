// Placement: which node a session belongs to, and who is next. A pure function of members and key.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>
#include <vector>

#include "common/wire/session_key.h"

namespace hearth {

// What placement knows of a member. Hashing uses the node's stable name, never its address.
struct Seat {
    std::uint64_t node_hash = 0;  // node_hash() of its name.
    double weight = 1.0;          // Its share of the sessions, relative to the others'; > 0.
};

// The same on every machine and in every version.
std::uint64_t node_hash(std::string_view node_id);

// Weighted rendezvous (highest random weight; Thaler and Ravishankar 1998, weights as in
// Schindelhauer and Schomaker 2005): a member's score is -weight / ln(u), u uniform in (0, 1) by
// (key, member). u is one folded 64 x 64 bit product, as in UMAC's NH: one multiplication a member.
double seat_score(const SessionKey& key, const Seat& seat);

// Seats, prepared for the question that every turn asks. Immutable; indices are those of the seats
// that it was made of.
class SeatTable {
  public:
    static constexpr std::size_t kTopMax = 4;
    struct Top {
        std::array<std::uint32_t, kTopMax> seats{};
        std::size_t count = 0;  // min(k, size())
    };

    SeatTable() = default;
    explicit SeatTable(const std::vector<Seat>& seats);

    // The first `k` (1 to kTopMax) of order(): about 0.8 ns a seat, no logarithm where all weights
    // are equal and about 10 of them where all differ.
    Top top(const SessionKey& key, std::size_t k) const;
    // All seats, home first, then the heirs in order. A member that comes or goes changes the order
    // of no other pair, and seats may be given in any order.
    std::vector<std::uint32_t> order(const SessionKey& key) const;
    std::size_t size() const { return entries_.size(); }

  private:
    struct Entry {
        std::uint64_t first, second;  // Two hashes of the node's name.
    };
    struct Group {  // Entries of one weight: among them the larger u wins.
        double weight;
        std::size_t end;
    };
    class Best;
    std::vector<Entry> entries_;       // Heaviest group first.
    std::vector<std::uint32_t> seat_;  // Of each entry.
    std::vector<Group> groups_;
};

// The order of one session, worked out as far as it is asked for. The table outlives it.
class SessionOrder {
  public:
    SessionOrder(const SeatTable& table, const SessionKey& key)
        : table_(table), key_(key), top_(table.top(key, 2)) {}
    std::size_t size() const { return table_.size(); }
    std::uint32_t operator[](std::size_t rank) {
        if (rank < top_.count) return top_.seats[rank];
        if (all_.empty()) all_ = table_.order(key_);
        return all_[rank];
    }

  private:
    const SeatTable& table_;
    SessionKey key_;
    SeatTable::Top top_;
    std::vector<std::uint32_t> all_;
};

}  // namespace hearth
