// PagePool: the memory of all KV pages of a node, under a budget in bytes that it never exceeds.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <utility>
#include <vector>

namespace hearth {

class PagePool;

// The one owner of one page; gives it back when it goes. Empty when default-made or moved from.
class Page {
  public:
    Page() = default;
    Page(Page&& other) noexcept;
    Page& operator=(Page&& other) noexcept;
    ~Page() { reset(); }

    explicit operator bool() const { return pool_ != nullptr; }
    std::byte* data() const;  // page_bytes() long, 64-byte aligned; whatever its last owner left.
    void reset();             // Gives the page back now.

  private:
    friend class PagePool;
    Page(PagePool* pool, std::int32_t index) : pool_(pool), index_(index) {}

    PagePool* pool_ = nullptr;
    std::int32_t index_ = -1;
};

// Owned and used by the scheduler's thread. Invariant: pages_used() <= pages_total(), and
// pages_total() * page_bytes() <= bytes_max. Address space is reserved at once, memory only when a
// page is first written, and pages that were used before are handed out first: an idle node is
// small.
class PagePool {
  public:
    // `page_bytes` > 0 and a multiple of 64. A budget below one page gives a pool without pages.
    PagePool(std::size_t page_bytes, std::int64_t bytes_max);
    ~PagePool();  // Every page must be back.
    PagePool(const PagePool&) = delete;
    PagePool& operator=(const PagePool&) = delete;

    Page acquire();  // Empty when none is free.

    // All of it, for an engine whose device copies pages from there.
    std::span<std::byte> memory() const { return {memory_, memory_bytes_}; }
    // Called with every page that is handed out, since copies of what it held are stale.
    void on_acquire(std::function<void(const std::byte*)> told) { told_ = std::move(told); }

    std::size_t page_bytes() const { return page_bytes_; }
    std::int64_t pages_total() const { return pages_total_; }
    std::int64_t pages_used() const { return pages_used_; }
    std::int64_t pages_free() const { return pages_total_ - pages_used_; }

  private:
    friend class Page;
    std::byte* at(std::int32_t index) const;
    void release(std::int32_t index);

    std::size_t page_bytes_;
    std::int64_t pages_total_;
    std::int64_t pages_used_ = 0;
    std::int32_t untouched_ = 0;      // Pages from here on were never handed out.
    std::vector<std::int32_t> free_;  // Given back; the last one is the next to go.
    std::vector<bool> in_use_;        // Of those handed out at least once.
    std::byte* memory_ = nullptr;
    std::size_t memory_bytes_ = 0;
    std::function<void(const std::byte*)> told_;
};

}  // namespace hearth
