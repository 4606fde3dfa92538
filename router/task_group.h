// TaskGroup: the parent of a server's background coroutines; nothing it starts outlives its end().
#pragma once

#include <chrono>
#include <cstddef>
#include <memory>
#include <vector>

#include "common/net/asio.h"

namespace hearth {

// One io_context's thread. A child that throws is logged; that is a bug of the child.
class TaskGroup {
  public:
    explicit TaskGroup(asio::io_context& io) : state_(std::make_shared<State>(io)) {}

    void start(Task<void> child);
    bool ending() const { return state_->ending; }
    // Waits, but not beyond the group's end; false when it has ended.
    Task<bool> pause(std::chrono::milliseconds duration);
    // Wakes the children that pause, and returns when all have returned.
    Task<void> end();
    // The same without waiting, for a server that is destroyed: children see ending().
    void cancel();

  private:
    struct State {
        explicit State(asio::io_context& loop) : io(loop), all_ended(loop) {}
        asio::io_context& io;
        asio::steady_timer all_ended;
        std::vector<asio::steady_timer*> pauses;
        std::size_t children = 0;
        bool ending = false;
    };
    static Task<bool> pause(std::shared_ptr<State> state, std::chrono::milliseconds duration);
    static Task<void> end(std::shared_ptr<State> state);

    std::shared_ptr<State> state_;  // Shared with the children.
};

}  // namespace hearth
