// ThreadPool: every task runs exactly once, for any number of tasks, threads and rounds.
#include "engine/kernels/thread_pool.h"

#include <gtest/gtest.h>

#include <atomic>
#include <latch>
#include <vector>

#include "common/base/machine.h"

namespace hearth::engine {
namespace {

TEST(ThreadPool, EveryTaskRunsOnceInEveryRound) {
    for (const std::int32_t threads : {1, 2, 4}) {
        ThreadPool pool(threads);
        EXPECT_EQ(pool.threads(), threads);
        for (const std::int32_t tasks : {0, 1, 2, 3, 100}) {
            std::vector<std::atomic<int>> ran(static_cast<std::size_t>(tasks));
            for (int round = 1; round <= 50; ++round) {
                pool.run(tasks, [&](std::int32_t index, std::int32_t worker) {
                    EXPECT_GE(worker, 0);
                    EXPECT_LT(worker, threads);
                    ++ran[static_cast<std::size_t>(index)];
                });
                for (const std::atomic<int>& count : ran) ASSERT_EQ(count.load(), round);
            }
        }
    }
}

TEST(ThreadPool, WorkersStayOnTheirProcessors) {
    const std::vector<int> all = read_machine().cpus;
    const std::vector<int> cpus = {all.front(), all.back()};
    ThreadPool pool(2, cpus);
    std::vector<int> of_worker;
    std::latch both_came(2);  // So each takes one task.
    pool.run(2, [&](std::int32_t, std::int32_t worker) {
        both_came.arrive_and_wait();
        if (worker == 1) of_worker = read_machine().cpus;
    });
    EXPECT_EQ(of_worker, std::vector<int>{cpus[1]});
    EXPECT_EQ(read_machine().cpus, all);
}

TEST(ThreadPool, StopsWithoutEverHavingRun) {
    for (int i = 0; i < 20; ++i) ThreadPool pool(3);
}

}  // namespace
}  // namespace hearth::engine
