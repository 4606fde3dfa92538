// AlignedBuffer, Arena: zeroed memory on 64-byte boundaries for the kernels' aligned loads.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <memory>
#include <new>

#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace hearth::engine {

constexpr std::size_t kCacheLine = 64;
constexpr std::size_t kHugePage = 2u << 20;

// Frees what allocate_aligned() gave.
struct FreeAligned {
    std::size_t alignment = kCacheLine;
    void operator()(void* p) const { ::operator delete (p, std::align_val_t{alignment}); }
};

// Big blocks (weights) ask for huge pages: streaming them then misses the TLB far less.
inline std::unique_ptr<void, FreeAligned> allocate_aligned(std::size_t bytes) {
    const bool big = bytes >= kHugePage;
    const std::size_t alignment = big ? kHugePage : kCacheLine;
    std::unique_ptr<void, FreeAligned> memory(::operator new (bytes, std::align_val_t{alignment}),
                                              FreeAligned{alignment});
#if defined(__linux__)
    if (big) ::madvise(memory.get(), bytes, MADV_HUGEPAGE);  // Refusal costs only speed.
#endif
    return memory;
}

// One owner. T is a plain number. Contents are lost when it grows.
template <typename T>
class AlignedBuffer {
  public:
    // Exactly `count` zeros.
    void resize(std::size_t count) {
        const std::size_t bytes = count * sizeof(T) + kSlack;
        memory_ = allocate_aligned(bytes);
        std::memset(memory_.get(), 0, bytes);
        size_ = count;
    }
    // At least `count`; zeros if it had to grow.
    void reserve(std::size_t count) {
        if (count > size_) resize(count);
    }
    T* data() { return static_cast<T*>(memory_.get()); }
    const T* data() const { return static_cast<const T*>(memory_.get()); }
    std::size_t size() const { return size_; }

  private:
    static constexpr std::size_t kSlack = 64;  // A last vector may be read past its end.
    std::unique_ptr<void, FreeAligned> memory_;
    std::size_t size_ = 0;
};

// Pieces of memory that lie one after another in the order in which they were taken, so that who
// reads them in that order may ask for what comes next. One owner; pieces may outlive it.
class Arena {
  public:
    // Zeros. Blocks grow with what has been taken; what nobody takes of one is never touched.
    std::shared_ptr<std::byte> take(std::size_t bytes) {
        bytes = (bytes + kCacheLine - 1) / kCacheLine * kCacheLine;
        if (bytes + kSlack > size_ - used_) {
            size_ = std::max(bytes + kSlack, std::min(taken_, kBlockMax));
            used_ = 0;
            block_ = allocate_aligned(size_);
        }
        std::shared_ptr<std::byte> piece(block_, static_cast<std::byte*>(block_.get()) + used_);
        std::memset(piece.get(), 0, bytes + kSlack);
        used_ += bytes;
        taken_ += bytes;
        return piece;
    }

  private:
    static constexpr std::size_t kBlockMax = 64u << 20;
    static constexpr std::size_t kSlack = 64;  // A last vector may be read past its end.
    std::shared_ptr<void> block_;
    std::size_t size_ = 0, used_ = 0, taken_ = 0;
};

}  // namespace hearth::engine
