// AlignedBuffer: zeroed memory on a 64-byte boundary for the kernels' aligned loads.
#pragma once

#include <cstddef>
#include <cstring>
#include <memory>
#include <new>

#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace hearth::engine {

// One owner. T is a plain number. Contents are lost when it grows.
template <typename T>
class AlignedBuffer {
  public:
    // Exactly `count` zeros.
    void resize(std::size_t count) {
        const std::size_t bytes = count * sizeof(T) + kSlack;
        // Big blocks (weights) ask for huge pages: streaming them then misses the TLB far less.
        const bool big = bytes >= kHugePage;
        const std::size_t alignment = big ? kHugePage : kAlignment;
        memory_ = Memory(static_cast<T*>(::operator new (bytes, std::align_val_t{alignment})),
                         Free{alignment});
#if defined(__linux__)
        if (big) ::madvise(memory_.get(), bytes, MADV_HUGEPAGE);  // Refusal costs only speed.
#endif
        std::memset(memory_.get(), 0, bytes);
        size_ = count;
    }
    // At least `count`; zeros if it had to grow.
    void reserve(std::size_t count) {
        if (count > size_) resize(count);
    }
    T* data() {
        return memory_.get();
    }
    const T* data() const {
        return memory_.get();
    }
    std::size_t size() const {
        return size_;
    }

  private:
    static constexpr std::size_t kAlignment = 64;
    static constexpr std::size_t kHugePage = 2u << 20;
    static constexpr std::size_t kSlack = 64;  // A last vector may be read past its end.
    struct Free {
        std::size_t alignment = kAlignment;
        void operator()(T* p) const { ::operator delete (p, std::align_val_t{alignment}); }
    };
    using Memory = std::unique_ptr<T, Free>;
    Memory memory_;
    std::size_t size_ = 0;
};

}  // namespace hearth::engine
