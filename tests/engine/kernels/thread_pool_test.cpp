// ThreadPool: every task runs exactly once, for any number of tasks, threads and rounds.
#include "engine/kernels/thread_pool.h"

#include <gtest/gtest.h>

#include <atomic>
#include <vector>

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

TEST(ThreadPool, StopsWithoutEverHavingRun) {
    for (int i = 0; i < 20; ++i) ThreadPool pool(3);
}

}  // namespace
}  // namespace hearth::engine
