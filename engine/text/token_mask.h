// TokenMask: a set of token ids.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "engine/model/config.h"

namespace hearth::engine {

// A value. Ids are 0 or more.
class TokenMask {
  public:
    explicit TokenMask(std::int32_t tokens = 0) : words_((at(tokens) + 63) / 64) {}

    void add(TokenId id) { words_[at(id) / 64] |= std::uint64_t{1} << (at(id) % 64); }
    bool holds(TokenId id) const {
        return at(id) / 64 < words_.size() && (words_[at(id) / 64] >> (at(id) % 64) & 1) != 0;
    }

  private:
    static std::size_t at(std::int32_t number) { return static_cast<std::size_t>(number); }
    std::vector<std::uint64_t> words_;
};

}  // namespace hearth::engine
