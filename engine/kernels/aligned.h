// AlignedBuffer: zeroed memory on a 64-byte boundary for the kernels' aligned loads.
#pragma once

#include <cstddef>
#include <cstring>
#include <memory>
#include <new>

namespace hearth::engine {

// One owner. T is a plain number. Contents are lost when it grows.
template <typename T>
class AlignedBuffer {
  public:
    // Exactly `count` zeros.
    void resize(std::size_t count) {
        memory_.reset(static_cast<T*>(
            ::operator new (count * sizeof(T) + kSlack, std::align_val_t{kAlignment})));
        std::memset(memory_.get(), 0, count * sizeof(T) + kSlack);
        size_ = count;
    }
    // At least `count`; zeros if it had to grow.
    void reserve(std::size_t count) {
        if (count > size_) resize(count);
    }
    T* data() { return memory_.get(); }
    const T* data() const { return memory_.get(); }
    std::size_t size() const { return size_; }

  private:
    static constexpr std::size_t kAlignment = 64;
    static constexpr std::size_t kSlack = 64;  // A last vector may be read past its end.
    struct Free {
        void operator()(T* p) const { ::operator delete (p, std::align_val_t{kAlignment}); }
    };
    std::unique_ptr<T, Free> memory_;
    std::size_t size_ = 0;
};

}  // namespace hearth::engine
