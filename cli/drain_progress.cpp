// Progress of a drain on a terminal or in a log, and its end.
#include "cli/drain_progress.h"

#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>

namespace hearth::cli {
namespace {

constexpr int kBarCells = 20;
constexpr MonotonicNs kStuck = 10 * kSecond;

}  // namespace

std::string words_of(const Left& left) {
    char text[128];
    if (left.hands_over && !left.has_heard) {
        std::snprintf(text, sizeof(text), "%.0f turn%s running, the node has not heard of it yet",
                      left.turns, left.turns == 1 ? "" : "s");
        return text;
    }
    std::snprintf(text, sizeof(text), "%.0f turn%s running, %.0f session%s not moved yet",
                  left.turns, left.turns == 1 ? "" : "s", left.sessions,
                  left.sessions == 1 ? "" : "s");
    return text;
}

bool is_at_rest(const Left& left) {
    return left.turns <= 0 && left.sessions <= 0 && (left.has_heard || !left.hands_over);
}

std::string drain_bar(double sessions, double most) {
    if (most <= 0) return "";
    const double done = std::clamp(1 - sessions / most, 0.0, 1.0);
    const auto cells = static_cast<std::size_t>(std::floor(done * kBarCells));
    return "[" + std::string(cells, '#') + std::string(kBarCells - cells, '-') + "] ";
}

Progress::Progress(bool quiet) : quiet_(quiet), terminal_(isatty(STDERR_FILENO) == 1) {}

Progress::~Progress() {
    if (terminal_ && !last_.empty()) std::fprintf(stderr, "\n");
}

void Progress::show(const std::string& line, double sessions) {
    most_ = std::max(most_, sessions);
    if (quiet_ || line == last_) return;
    last_ = line;
    if (terminal_)
        std::fprintf(stderr, "\r\x1b[K%s%s", drain_bar(sessions, most_).c_str(), line.c_str());
    else
        std::fprintf(stderr, "%s\n", line.c_str());
    std::fflush(stderr);
}

bool Rest::has_come(const Left& left, MonotonicNs now) {
    if (left.sessions != sessions_) since_ = now;
    sessions_ = left.sessions;
    if (left.turns > 0) return false;
    if (!left.hands_over || now - since_ > kStuck) return true;
    return left.has_heard && left.sessions == 0;
}

}  // namespace hearth::cli
