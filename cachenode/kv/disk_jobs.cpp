// Two queues under one lock, which is held for a few moves only.
#include "cachenode/kv/disk_jobs.h"

#include <utility>

namespace hearth {
namespace {

constexpr int kReaders = 2;

}  // namespace

DiskJobs::DiskJobs(bool has_threads, std::function<void()> wake)
    : has_threads_(has_threads), wake_(std::move(wake)) {
    if (!has_threads) return;
    threads_.emplace_back([this] { serve(writes_); });
    for (int i = 0; i < kReaders; ++i) threads_.emplace_back([this] { serve(reads_); });
}

DiskJobs::~DiskJobs() {
    {
        const std::lock_guard lock(mutex_);
        is_over_ = true;
    }
    writes_.changed.notify_all();
    reads_.changed.notify_all();
    for (std::thread& thread : threads_) thread.join();
    if (!has_threads_) finish();
}

void DiskJobs::serve(Queue& queue) {
    std::unique_lock lock(mutex_);
    for (;;) {
        queue.changed.wait(lock, [&] { return is_over_ || !queue.jobs.empty(); });
        if (queue.jobs.empty()) return;
        Job job = std::move(queue.jobs.front());
        queue.jobs.pop_front();
        lock.unlock();
        Done done = job();
        lock.lock();
        done_.push_back([kept = std::move(job), then = std::move(done)] {
            if (then) then();  // What the job holds is destroyed by its owner's thread.
        });
        lock.unlock();
        wake_();
        lock.lock();
    }
}

void DiskJobs::add(Queue& queue, Job job) {
    {
        const std::lock_guard lock(mutex_);
        queue.jobs.push_back(std::move(job));
    }
    queue.changed.notify_one();
}

void DiskJobs::write(Job job) {
    add(writes_, std::move(job));
}

void DiskJobs::read(Job job) {
    add(reads_, std::move(job));
}

std::size_t DiskJobs::drop_writes() {
    std::deque<Job> dropped;
    const std::lock_guard lock(mutex_);
    dropped.swap(writes_.jobs);
    return dropped.size();
}

bool DiskJobs::finish() {
    if (!has_threads_) {
        for (Queue* queue : {&reads_, &writes_}) {
            for (Job& job : std::exchange(queue->jobs, {})) done_.push_back(job());
        }
    }
    std::vector<Done> done;
    {
        const std::lock_guard lock(mutex_);
        done.swap(done_);
    }
    for (const Done& each : done) {
        if (each) each();
    }
    return !done.empty();
}

}  // namespace hearth
