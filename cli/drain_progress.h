// What a drain has left to do, how it is shown, when it has come to rest; and a node's own drain.
#pragma once

#include <chrono>
#include <string>

#include "common/base/clock.h"
#include "common/net/asio.h"

namespace hearth::cli {

constexpr auto kDrainLook = std::chrono::milliseconds(500);

struct Left {
    double turns = 0, sessions = 0;
    bool hands_over = false;  // The node moves its sessions by itself.
    bool has_heard = false;   // It knows of the drain.
};
// "1 turn running, 3 sessions not moved yet"
std::string words_of(const Left& left);

// No turn, no session, and the node knows why.
bool is_at_rest(const Left& left);

// "[########------------] " of a drain that began with `most` sessions; empty if that is none.
std::string drain_bar(double sessions, double most);

// On a terminal one line that changes, with a bar; else a line when something has changed.
class Progress {
  public:
    explicit Progress(bool quiet);
    ~Progress();
    void show(const std::string& line, double sessions);

  private:
    const bool quiet_, terminal_;
    std::string last_;
    double most_ = 0;  // Sessions at the most so far: the whole bar.
};

// Whether the node has nothing left to do. One that hands its sessions over is waited for while
// their number falls; those of others move with their next turns, whenever those come.
class Rest {
  public:
    bool has_come(const Left& left, MonotonicNs now);

  private:
    double sessions_ = -1;
    MonotonicNs since_ = 0;
};

struct SelfFlags {
    std::string place = "127.0.0.1:8101";  // host:port or URL.
    std::string cacert;
    int pid = 0;  // 0: the only hearth-cachenode of this user in this container or machine.
    std::int64_t timeout_s = 300;
    bool wait = false, json = false;
};
// Tells the node that runs here to drain (SIGUSR1), and waits until it has if that is wanted.
// Returns the exit code.
Task<int> drain_self(asio::io_context& io, SelfFlags flags);

}  // namespace hearth::cli
