// run_task: runs a coroutine to its end on a test's io_context, or fails loudly when it never ends.
#pragma once

#include <chrono>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <stdexcept>
#include <utility>

#include "common/base/clock.h"
#include "common/net/asio.h"

namespace hearth {

// What a running task leaves behind. Shared, because handlers may outlive the call that waits.
template <typename T>
struct TaskOutcome {
    std::optional<T> value;
    std::exception_ptr thrown;
    bool late = false;
    bool done() const { return value || thrown || late; }
};

template <typename T>
Task<void> run_into(Task<T> task, std::shared_ptr<TaskOutcome<T>> outcome) {
    outcome->value.emplace(co_await std::move(task));
}

// Starts `task` beside whatever else lives on `io`; the outcome fills in as `io` runs.
template <typename T>
std::shared_ptr<TaskOutcome<T>> start_task(asio::io_context& io, Task<T> task) {
    const auto outcome = std::make_shared<TaskOutcome<T>>();
    asio::co_spawn(io, run_into(std::move(task), outcome),
                   [outcome](std::exception_ptr thrown) { outcome->thrown = thrown; });
    return outcome;
}

// Runs `io` until the task is done, and returns its result.
template <typename T>
T finish_task(asio::io_context& io, std::shared_ptr<TaskOutcome<T>> outcome,
              std::chrono::milliseconds limit = std::chrono::seconds(30)) {
    asio::steady_timer deadline(io, limit);
    deadline.async_wait([outcome](boost::system::error_code cancelled) {
        if (!cancelled) outcome->late = true;
    });
    io.restart();
    while (!outcome->done()) io.run_one();
    if (outcome->thrown) std::rethrow_exception(outcome->thrown);
    if (!outcome->value) throw std::runtime_error("the coroutine did not end in time");
    return std::move(*outcome->value);
}

template <typename T>
T run_task(asio::io_context& io, Task<T> task) {
    return finish_task(io, start_task(io, std::move(task)));
}

// True as soon as `condition` holds; false if it does not within `limit`.
inline Task<bool> eventually(asio::io_context& io, std::function<bool()> condition,
                             std::chrono::milliseconds limit = std::chrono::seconds(10)) {
    const Clock& clock = SystemClock::instance();
    const MonotonicNs end = clock.now() + limit.count() * kMs;
    asio::steady_timer pause(io);
    while (!condition()) {
        if (clock.now() > end) co_return false;
        pause.expires_after(std::chrono::milliseconds(1));
        co_await pause.async_wait(asio::use_awaitable);
    }
    co_return true;
}

}  // namespace hearth
