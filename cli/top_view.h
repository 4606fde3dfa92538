// TopView: one frame of `hearth top` from what the admin API answered. Pure.
#pragma once

#include <boost/json/object.hpp>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "common/base/clock.h"

namespace hearth::cli {

// Of some stretch of a router's history; the shares are of the reusable tokens.
struct HitWindow {
    double reused = 0, reusable = 0, ceiling = 0;
    std::vector<std::pair<std::string, double>> missed;  // Tokens by reason, the most first.
};
// The last `seconds` of an answer of GET /admin/v1/history.
HitWindow hit_window(const boost::json::object& history, double seconds);

struct TopNode {
    std::string id, state, address;
    double load = 0, in_flight = 0, running = 0, waiting = 0;
    double kv_used = 0, kv_max = 0;   // Bytes; 0 of what says nothing of itself.
    double reused = 0, reusable = 0;  // Tokens since the node began.
    double prompt_tokens = 0;         // The same.
    double prompt_tokens_per_s = -1;  // Since the frame before; -1 = there was none.
};

struct TopFrame {
    std::string cluster, store;  // "up", "down", "not used"
    std::vector<TopNode> nodes;  // In the router's order.
    HitWindow recent, hour;      // Of five minutes, and of all that the router remembers.
};

// Makes frames of answers, and rates of two frames. One owner.
class TopView {
  public:
    // Answers of GET /admin/v1/nodes and /admin/v1/history, at `now`.
    TopFrame next(const boost::json::object& nodes, const boost::json::object& history,
                  MonotonicNs now);

  private:
    std::map<std::string, double> tokens_before_;
    MonotonicNs before_ = 0;
};

struct TopStyle {
    bool color = false;
    std::size_t columns = 0;  // Lines are cut there; 0 = never.
};
// Lines that end with '\n'.
std::string top_text(const TopFrame& frame, const TopStyle& style);
boost::json::object top_json(const TopFrame& frame);

}  // namespace hearth::cli
