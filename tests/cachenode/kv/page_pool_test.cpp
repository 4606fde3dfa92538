// The pool's budget, its pages' independence, and that misuse aborts.
#include "cachenode/kv/page_pool.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <cstring>
#include <utility>
#include <vector>

#include "common/base/rng.h"

namespace hearth {
namespace {

TEST(PagePool, NeverExceedsItsBudgetInBytes) {
    for (const std::int64_t bytes : {0, 1, 1087, 1088, 1089, 10'000}) {
        PagePool pool(1088, bytes);
        std::vector<Page> pages;
        while (Page page = pool.acquire()) pages.push_back(std::move(page));
        EXPECT_EQ(pool.pages_used(), bytes / 1088);
        EXPECT_EQ(pool.pages_free(), 0);
        EXPECT_LE(pool.pages_used() * 1088, bytes);
    }
}

TEST(PagePool, PagesAreAlignedAndApart) {
    PagePool pool(1088, 100 * 1088);
    std::vector<Page> pages;
    while (Page page = pool.acquire()) {
        EXPECT_EQ(reinterpret_cast<std::uintptr_t>(page.data()) % 64, 0u);
        std::memset(page.data(), static_cast<int>(pages.size()), pool.page_bytes());
        pages.push_back(std::move(page));
    }
    for (std::size_t i = 0; i < pages.size(); ++i) {
        for (std::size_t b = 0; b < pool.page_bytes(); b += 64) {
            ASSERT_EQ(pages[i].data()[b], static_cast<std::byte>(i));
        }
    }
}

TEST(PagePool, AGivenBackPageIsTheNextToGo) {
    PagePool pool(64, 64'000);
    Page first = pool.acquire();
    const Page second = pool.acquire();
    const std::byte* const at = first.data();
    first.reset();
    EXPECT_FALSE(first);
    EXPECT_EQ(pool.pages_used(), 1);
    EXPECT_EQ(pool.acquire().data(), at);  // Memory that was never touched stays untouched.
}

TEST(PagePool, TellsOfEveryPageThatItHandsOut) {
    PagePool pool(64, 640);
    std::vector<const std::byte*> told;
    pool.on_acquire([&](const std::byte* page) { told.push_back(page); });
    Page first = pool.acquire();
    const Page second = pool.acquire();
    EXPECT_EQ(told, (std::vector<const std::byte*>{first.data(), second.data()}));
    first.reset();
    first = pool.acquire();
    ASSERT_EQ(told.size(), 3u);
    EXPECT_EQ(told[2], first.data());
    EXPECT_EQ(pool.memory().size(), 640u);
    EXPECT_EQ(pool.memory().data(), first.data());
}

TEST(PagePool, HandlesMoveAndGiveBackOnce) {
    PagePool pool(64, 640);
    Page a = pool.acquire();
    Page b = std::move(a);
    Page c;
    c = std::move(b);
    c = std::move(*&c);  // Onto itself.
    EXPECT_TRUE(c);
    EXPECT_EQ(pool.pages_used(), 1);
    c = pool.acquire();
    EXPECT_EQ(pool.pages_used(), 1);
}

TEST(PagePool, CountsHoldUnderRandomUse) {
    constexpr std::uint64_t kSeed = 11;
    SCOPED_TRACE(kSeed);
    Rng rng(kSeed);
    PagePool pool(128, 128 * 37);
    std::vector<Page> held;
    for (int i = 0; i < 20'000; ++i) {
        if (rng.below(2) == 0 && !held.empty()) {
            std::swap(held[rng.below(held.size())], held.back());
            held.pop_back();
        } else if (Page page = pool.acquire()) {
            held.push_back(std::move(page));
        } else {
            EXPECT_EQ(held.size(), 37u);
        }
        ASSERT_EQ(pool.pages_used(), std::ssize(held));
    }
}

using PagePoolDeathTest = ::testing::Test;

TEST(PagePoolDeathTest, APageMayNotOutliveItsPool) {
    EXPECT_DEATH(
        {
            Page page;
            PagePool pool(64, 640);
            page = pool.acquire();
        },
        "outlived");
}

TEST(PagePoolDeathTest, AnEmptyHandleHasNoBytes) {
    EXPECT_DEATH(Page().data(), "CHECK|pool_");
}

}  // namespace
}  // namespace hearth
