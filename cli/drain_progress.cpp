// Progress of a drain on a terminal or in a log, and its end.
#include "cli/drain_progress.h"

#include <unistd.h>

#include <cstdio>

namespace hearth::cli {
namespace {

constexpr MonotonicNs kStuck = 10 * kSecond;

}  // namespace

std::string words_of(const Left& left) {
    char text[128];
    std::snprintf(text, sizeof(text), "%.0f turn%s running, %.0f session%s not moved yet",
                  left.turns, left.turns == 1 ? "" : "s", left.sessions,
                  left.sessions == 1 ? "" : "s");
    return text;
}

Progress::Progress(bool quiet) : quiet_(quiet), terminal_(isatty(STDERR_FILENO) == 1) {}

Progress::~Progress() {
    if (terminal_ && !last_.empty()) std::fprintf(stderr, "\n");
}

void Progress::show(const std::string& line) {
    if (quiet_ || line == last_) return;
    last_ = line;
    std::fprintf(stderr, terminal_ ? "\r\x1b[K%s" : "%s\n", line.c_str());
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
