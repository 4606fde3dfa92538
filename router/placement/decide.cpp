// The rules of a placement, in their order.
#include "router/placement/decide.h"

namespace hearth {
namespace {

class Rules {
  public:
    Rules(const SeatTable& seats, const SessionKey& session, const Situation& situation,
          const SeatStates& states, double margin_ms)
        : order_(seats, session), s_(situation), states_(states), margin_ms_(margin_ms) {}

    Decision run() {
        if (order_.size() == 0) return out_;
        out_.home = order_[0];
        if (s_.pinned && states_(*s_.pinned).usable) return choose(*s_.pinned, Reason::kPinned);
        if (s_.bound) {
            const SeatState holder = states_(*s_.bound);
            if (holder.usable) return held(holder);
        }
        if (s_.first_turn && order_.size() > 1) {
            const SeatState home = states_(order_[0]), heir = states_(order_[1]);
            out_.rival = order_[1];
            out_.load = home.load;
            out_.rival_load = heir.load;
            if (home.usable && heir.usable && heir.load < home.load)
                return choose(order_[1], Reason::kHeir);
        }
        for (std::size_t i = 0; i < order_.size(); ++i)
            if (states_(order_[i]).usable) return choose(order_[i], fallback(i));
        return out_;
    }

  private:
    Decision choose(std::uint32_t seat, Reason reason) {
        out_.choice = Choice{seat, reason};
        return out_;
    }
    Reason fallback(std::size_t rank) const {
        if (s_.holder_drains) return Reason::kMoved;
        return rank == 0 ? Reason::kHome : Reason::kHeir;
    }

    Decision held(const SeatState& holder) {
        const std::uint32_t bound = *s_.bound, home = *out_.home;
        if (s_.moved) return choose(bound, Reason::kMoved);
        out_.wait_ms = holder.wait_ms;
        if (comes_back(holder))
            return choose(*s_.left, *s_.left == home ? Reason::kHome : Reason::kMoved);
        if (s_.may_come_home && bound != home && states_(home).usable)
            return choose(home, Reason::kHome);
        if (spills(holder)) return choose(*out_.rival, Reason::kSpill);
        return choose(bound, bound == home ? Reason::kHome : Reason::kBound);
    }

    // The node that the session spilled from has its KV but for the last turns.
    bool comes_back(const SeatState& holder) {
        if (!s_.left || *s_.left == *s_.bound) return false;
        const SeatState left = states_(*s_.left);
        if (!left.usable || !left.wait_ms || left.prefill_tokens_per_s <= 0) return false;
        const double missing_ms =
            static_cast<double>(s_.left_tokens_missing) / left.prefill_tokens_per_s * 1e3;
        return *left.wait_ms + missing_ms <= holder.wait_ms.value_or(0) + margin_ms_;
    }

    // Sets the rival: the one of the next two in order where the turn would be done first.
    bool spills(const SeatState& holder) {
        if (s_.tokens <= 0 || !holder.wait_ms || *holder.wait_ms <= margin_ms_) return false;
        double best_ms = 0;
        std::size_t seen = 0;
        for (std::size_t i = 0; i < order_.size() && seen < 2; ++i) {
            const std::uint32_t seat = order_[i];
            if (seat == *s_.bound) continue;
            const SeatState state = states_(seat);
            if (!state.usable || !state.wait_ms || state.prefill_tokens_per_s <= 0) continue;
            ++seen;
            const double rebuild_ms =
                static_cast<double>(s_.tokens) / state.prefill_tokens_per_s * 1e3;
            if (out_.rival && *state.wait_ms + rebuild_ms >= best_ms) continue;
            best_ms = *state.wait_ms + rebuild_ms;
            out_.rival = seat;
            out_.rival_wait_ms = state.wait_ms;
            out_.rebuild_ms = rebuild_ms;
        }
        return out_.rival && *holder.wait_ms > best_ms + margin_ms_;
    }

    SessionOrder order_;
    const Situation& s_;
    const SeatStates& states_;
    const double margin_ms_;
    Decision out_;
};

}  // namespace

const char* to_string(Reason reason) {
    switch (reason) {
        case Reason::kHome: return "home";
        case Reason::kBound: return "bound";
        case Reason::kSpill: return "spill";
        case Reason::kHeir: return "heir";
        case Reason::kMoved: return "moved";
        case Reason::kPinned: return "pinned";
    }
    return "unknown";
}

Decision decide(const SeatTable& seats, const SessionKey& session, const Situation& situation,
                const SeatStates& states, double spill_margin_ms) {
    return Rules(seats, session, situation, states, spill_margin_ms).run();
}

}  // namespace hearth
