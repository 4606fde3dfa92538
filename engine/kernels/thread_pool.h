// ThreadPool: splits one op into tasks over a few workers; the caller works too.
#pragma once

#include <atomic>
#include <cstdint>
#include <span>
#include <thread>
#include <vector>

namespace hearth::engine {

// One owner thread calls run(); workers live as long as the pool. Between ops of a step they spin
// for some microseconds, then sleep, because several nodes may share the cores. Which worker takes
// which task is left to chance: a task's result must not depend on it. A worker that gets no core
// delays nobody: the others take its share, and run() waits for tasks, not for workers.
class ThreadPool {
  public:
    // The owner included; 1 = no worker. Worker i is pinned to cpus[i] if there is one; the owner
    // pins itself.
    explicit ThreadPool(std::int32_t threads, std::span<const int> cpus = {});
    ~ThreadPool();
    ThreadPool(const ThreadPool&) = delete;
    ThreadPool& operator=(const ThreadPool&) = delete;

    std::int32_t threads() const { return static_cast<std::int32_t>(workers_.size()) + 1; }

    // Calls task(index, worker) for every index in [0, tasks); returns when all are done.
    template <typename Task>
    void run(std::int32_t tasks, const Task& task) {
        if (tasks <= 1 || workers_.empty()) {
            for (std::int32_t i = 0; i < tasks; ++i) task(i, 0);
            return;
        }
        run_shared({[](const void* t, std::int32_t index, std::int32_t worker) {
                        (*static_cast<const Task*>(t))(index, worker);
                    },
                    &task, tasks});
    }

  private:
    struct Job {
        void (*call)(const void* task, std::int32_t index, std::int32_t worker) = nullptr;
        const void* task = nullptr;
        std::int32_t tasks = 0;
    };
    void run_shared(const Job& job);
    void work(std::int32_t worker);
    void take_tasks(std::int32_t worker);

    Job job_;  // Read only by who holds one of its tasks.
    std::atomic<std::uint32_t> generation_{0};
    std::atomic<std::int32_t> unclaimed_{0};  // Tasks that nobody has taken; may fall below zero.
    std::atomic<std::int32_t> unfinished_{0};
    std::atomic<bool> stop_{false};
    std::vector<std::jthread> workers_;
};

}  // namespace hearth::engine
