// DiskJobs: the disk tier's threads and their queues: one that writes, some that read.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace hearth {

// Jobs run in order on their kind's threads; what they return runs later on the owner's thread, in
// finish(). With no threads, finish() runs the jobs themselves: for tests that step by hand.
class DiskJobs {
  public:
    using Done = std::function<void()>;  // On the owner's thread; may be empty.
    using Job = std::function<Done()>;   // On one of ours.

    // `wake`: called on our threads when there is something to finish.
    DiskJobs(bool has_threads, std::function<void()> wake);
    ~DiskJobs();  // Runs what is queued to its end; what it returns is dropped.

    void write(Job job);
    void read(Job job);
    // Writes that have not begun, given up: their jobs are destroyed here. Returns how many.
    std::size_t drop_writes();
    bool finish();  // True when anything was finished.

  private:
    struct Queue {
        std::deque<Job> jobs;
        std::condition_variable changed;
    };
    void serve(Queue& queue);
    void add(Queue& queue, Job job);

    bool has_threads_;
    std::function<void()> wake_;
    std::mutex mutex_;
    Queue writes_, reads_;
    std::vector<Done> done_;
    bool is_over_ = false;
    std::vector<std::thread> threads_;
};

}  // namespace hearth
