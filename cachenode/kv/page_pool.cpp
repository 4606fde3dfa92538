// The pool's memory is one lazily filled anonymous mapping.
#include "cachenode/kv/page_pool.h"

#include <sys/mman.h>

#include <algorithm>
#include <limits>
#include <utility>

#include "common/base/check.h"

namespace hearth {

Page::Page(Page&& other) noexcept
    : pool_(std::exchange(other.pool_, nullptr)), index_(std::exchange(other.index_, -1)) {}

Page& Page::operator=(Page&& other) noexcept {
    if (this == &other) return *this;
    reset();
    pool_ = std::exchange(other.pool_, nullptr);
    index_ = std::exchange(other.index_, -1);
    return *this;
}

std::byte* Page::data() const {
    CHECK(pool_ != nullptr);
    return pool_->at(index_);
}

void Page::reset() {
    if (pool_ == nullptr) return;
    std::exchange(pool_, nullptr)->release(std::exchange(index_, -1));
}

PagePool::PagePool(std::size_t page_bytes, std::int64_t bytes_max) : page_bytes_(page_bytes) {
    CHECK(page_bytes > 0 && page_bytes % 64 == 0 && bytes_max >= 0);
    pages_total_ = std::min<std::int64_t>(bytes_max / static_cast<std::int64_t>(page_bytes),
                                          std::numeric_limits<std::int32_t>::max());
    memory_bytes_ = static_cast<std::size_t>(pages_total_) * page_bytes_;
    if (memory_bytes_ == 0) return;
    void* const memory = mmap(nullptr, memory_bytes_, PROT_READ | PROT_WRITE,
                              MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    CHECK_MSG(memory != MAP_FAILED, "kv_memory: the address space for the KV pages is refused");
    memory_ = static_cast<std::byte*>(memory);
    // Attention walks whole pages; huge ones spare it most TLB misses. Only a hint.
    madvise(memory, memory_bytes_, MADV_HUGEPAGE);
}

PagePool::~PagePool() {
    CHECK_MSG(pages_used_ == 0, "a KV page outlived its pool");
    if (memory_ != nullptr) munmap(memory_, memory_bytes_);
}

Page PagePool::acquire() {
    std::int32_t index = -1;
    if (!free_.empty()) {
        index = free_.back();
        free_.pop_back();
    } else if (untouched_ < pages_total_) {
        index = untouched_++;
        in_use_.push_back(false);
    } else {
        return {};
    }
    const auto at = static_cast<std::size_t>(index);
    CHECK(!in_use_[at]);
    in_use_[at] = true;
    ++pages_used_;
    if (told_) told_(this->at(index));
    return Page(this, index);
}

std::byte* PagePool::at(std::int32_t index) const {
    return memory_ + static_cast<std::size_t>(index) * page_bytes_;
}

void PagePool::release(std::int32_t index) {
    const auto at = static_cast<std::size_t>(index);
    CHECK_MSG(index >= 0 && at < in_use_.size() && in_use_[at], "a KV page was freed twice");
    in_use_[at] = false;
    --pages_used_;
    free_.push_back(index);
}

}  // namespace hearth
