// ThreadPool: a generation counter wakes the workers, a task counter shares out the work.
#include "engine/kernels/thread_pool.h"

#include "common/base/machine.h"

namespace hearth::engine {
namespace {

constexpr int kSpins = 2000;  // Pauses before sleeping: 20 to 100 microseconds.

void pause() {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#endif
}

// Blocks until `value` is no longer `old`.
template <typename T>
void wait_while(std::atomic<T>& value, T old) {
    for (int i = 0; i < kSpins; ++i) {
        if (value.load(std::memory_order_acquire) != old) return;
        pause();
    }
    while (value.load(std::memory_order_acquire) == old) value.wait(old);
}

}  // namespace

ThreadPool::ThreadPool(std::int32_t threads, std::span<const int> cpus) {
    for (std::int32_t i = 1; i < threads; ++i) {
        const auto at = static_cast<std::size_t>(i);
        const int cpu = at < cpus.size() ? cpus[at] : -1;
        workers_.emplace_back([this, i, cpu] {
            if (cpu >= 0) pin_this_thread(cpu);  // Refused, it runs where the kernel wants it.
            work(i);
        });
    }
}

ThreadPool::~ThreadPool() {
    stop_.store(true);
    generation_.fetch_add(1);
    generation_.notify_all();
}

void ThreadPool::run_shared(const Job& job) {
    job_ = job;
    unfinished_.store(job.tasks, std::memory_order_relaxed);
    unclaimed_.store(job.tasks, std::memory_order_release);  // From here on workers may come.
    generation_.fetch_add(1, std::memory_order_release);
    generation_.notify_all();
    take_tasks(0);
    for (std::int32_t left; (left = unfinished_.load(std::memory_order_acquire)) != 0;)
        wait_while(unfinished_, left);
}

void ThreadPool::work(std::int32_t worker) {
    std::uint32_t seen = 0;
    for (;;) {
        wait_while(generation_, seen);
        seen = generation_.load(std::memory_order_acquire);
        if (stop_.load()) return;
        take_tasks(worker);
    }
}

// A worker may be late and find the tasks of a later job. Whoever holds a task keeps its job alive,
// so job_ is read only then.
void ThreadPool::take_tasks(std::int32_t worker) {
    for (;;) {
        const std::int32_t unclaimed = unclaimed_.fetch_sub(1, std::memory_order_acq_rel);
        if (unclaimed <= 0) return;
        const Job job = job_;
        job.call(job.task, job.tasks - unclaimed, worker);
        if (unfinished_.fetch_sub(1, std::memory_order_acq_rel) == 1) unfinished_.notify_one();
    }
}

}  // namespace hearth::engine
