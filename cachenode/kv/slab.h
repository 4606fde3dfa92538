// Slab: a vector that grows by chunks, so that nothing ever moves and growth copies nothing.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

namespace hearth {

// Indices are stable; elements are default-made. One owner.
template <typename T, std::int32_t kPerChunk = 1024>
class Slab {
  public:
    T& operator[](std::int32_t index) {
        return chunks_[static_cast<std::size_t>(index / kPerChunk)][index % kPerChunk];
    }
    const T& operator[](std::int32_t index) const {
        return chunks_[static_cast<std::size_t>(index / kPerChunk)][index % kPerChunk];
    }
    std::int32_t add() {
        if (size_ == static_cast<std::int32_t>(chunks_.size()) * kPerChunk) {
            chunks_.push_back(std::make_unique<T[]>(static_cast<std::size_t>(kPerChunk)));
        }
        return size_++;
    }
    std::int32_t size() const { return size_; }

  private:
    std::vector<std::unique_ptr<T[]>> chunks_;
    std::int32_t size_ = 0;
};

}  // namespace hearth
