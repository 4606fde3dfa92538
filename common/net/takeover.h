// Takeover: a running process hands its listening sockets to its successor, so that no connection
// is refused or lost in between.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "common/base/result.h"
#include "common/net/asio.h"

namespace hearth {

// Over a Unix socket at a path that both name: the successor connects and gets the sockets
// (SCM_RIGHTS); once it serves, it sends one byte, and the predecessor drains. Both accept from the
// same queue meanwhile. If the successor ends before that, the predecessor goes on as if nothing
// had been. Only processes of the same user are dealt with.

// The successor's side. Blocking, before the loop runs.
class Predecessor {
  public:
    // Null when nobody serves at `path`; kUnavailable when somebody does but hands over nothing
    // within 5 s.
    static Result<std::unique_ptr<Predecessor>> ask(const std::string& path);
    ~Predecessor();
    Predecessor(const Predecessor&) = delete;
    Predecessor& operator=(const Predecessor&) = delete;

    const std::vector<int>& listeners() const { return listeners_; }  // The caller's from now on.
    void retire();                                                    // We serve: it may drain.

  private:
    explicit Predecessor(int link) : link_(link) {}

    int link_;
    std::vector<int> listeners_;
};

// The predecessor's side. Owned by main; one io_context.
class TakeoverDoor {
  public:
    explicit TakeoverDoor(asio::io_context& io);
    ~TakeoverDoor();

    // Replaces what is at `path`, also an older process's door. `listeners` stay open as long as
    // this; `on_taken` is called once.
    Result<void> open(const std::string& path, std::vector<int> listeners,
                      std::function<void()> on_taken);
    void close();

  private:
    struct State;
    static Task<void> serve(std::shared_ptr<State> state);
    static Task<bool> hand_over(std::shared_ptr<State> state);

    std::shared_ptr<State> state_;  // Shared with its coroutine.
};

}  // namespace hearth
