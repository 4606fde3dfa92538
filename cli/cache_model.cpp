// An LRU list over units, and the times between their uses.
#include "cli/cache_model.h"

#include <algorithm>
#include <list>
#include <unordered_map>

namespace hearth::cli {
namespace {

struct Unit {
    std::int64_t tokens = 0;  // In the cache now; 0 = evicted.
    std::int64_t known = 0;   // The most that any turn has computed of it.
    double used_s = 0;
    std::list<std::int64_t>::iterator place;  // Of those with tokens.
};

double quantile(std::vector<double>& values, double share) {
    if (values.empty()) return 0;
    const auto at = static_cast<std::ptrdiff_t>(share * static_cast<double>(values.size() - 1));
    std::nth_element(values.begin(), values.begin() + at, values.end());
    return values[static_cast<std::size_t>(at)];
}

// One owner; the list's front was used last.
class Lru {
  public:
    Lru(double bytes, double bytes_per_token)
        : tokens_max_(static_cast<std::int64_t>(bytes / bytes_per_token)) {}

    void serve(const TraceTurn& turn, CacheForecast& out) {
        count(turn, out);
        // From the end, so that the beginning, which others share, is the last to go.
        for (std::size_t i = turn.units.size(); i-- > 0;) {
            const bool last = i + 1 == turn.units.size();
            keep(turn.units[i], turn.unit_tokens[i] + (last ? turn.added_tokens : 0), turn.at_s);
        }
        while (held_ > tokens_max_ && !order_.empty()) evict(turn.at_s);
    }
    double kept_s() { return quantile(ages_, 0.5); }

  private:
    // A prompt's beginning counts as far as every unit is known, and is used as far as it is here.
    void count(const TraceTurn& turn, CacheForecast& out) {
        bool known = true, here = true;
        for (std::size_t i = 0; i < turn.units.size() && known; ++i) {
            const auto found = units_.find(turn.units[i]);
            if (found == units_.end()) return;
            const std::int64_t wanted = turn.unit_tokens[i];
            const std::int64_t reusable = std::min(wanted, found->second.known);
            const std::int64_t reused = here ? std::min(wanted, found->second.tokens) : 0;
            out.reusable_tokens += reusable;
            out.reused_tokens += reused;
            known = reusable == wanted;
            here = reused == wanted;
        }
    }

    void keep(std::int64_t id, std::int64_t tokens, double at_s) {
        Unit& unit = units_[id];
        if (unit.tokens > 0) order_.erase(unit.place);
        held_ += std::max(tokens, unit.tokens) - unit.tokens;
        unit.tokens = std::max(tokens, unit.tokens);
        unit.known = std::max(tokens, unit.known);
        unit.used_s = at_s;
        order_.push_front(id);
        unit.place = order_.begin();
    }

    void evict(double now_s) {
        Unit& unit = units_[order_.back()];
        ages_.push_back(now_s - unit.used_s);
        held_ -= unit.tokens;
        unit.tokens = 0;
        order_.pop_back();
    }

    const std::int64_t tokens_max_;
    std::int64_t held_ = 0;
    std::unordered_map<std::int64_t, Unit> units_;
    std::list<std::int64_t> order_;
    std::vector<double> ages_;
};

}  // namespace

CacheForecast forecast(const std::vector<TraceTurn>& turns, double bytes, double bytes_per_token) {
    CacheForecast out;
    out.bytes = bytes;
    Lru cache(bytes, bytes_per_token);
    for (const TraceTurn& turn : turns) cache.serve(turn, out);
    out.kept_s = cache.kept_s();
    return out;
}

ReplyGaps reply_gaps(const std::vector<TraceTurn>& turns) {
    std::unordered_map<std::int64_t, double> used;
    std::vector<double> gaps;
    for (const TraceTurn& turn : turns) {
        for (std::size_t i = turn.units.size(); i-- > 0;) {
            const auto found = used.find(turn.units[i]);
            if (found == used.end()) continue;
            // The first block of all is a shared system prompt: no reply to anything.
            if (i > 0 || turn.units.size() == 1) gaps.push_back(turn.at_s - found->second);
            break;
        }
        for (const std::int64_t unit : turn.units) used[unit] = turn.at_s;
    }
    ReplyGaps out;
    out.count = gaps.size();
    out.p50_s = quantile(gaps, 0.5);
    out.p95_s = quantile(gaps, 0.95);
    return out;
}

}  // namespace hearth::cli
