// HeadText: the bytes of a head being written, in a buffer that is used again for the next one.
#pragma once

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <memory>
#include <string_view>

#include "common/base/small_copy.h"

namespace hearth {

// One owner. Room is made once a field, not once a piece of it.
class HeadText {
  public:
    void clear() { size_ = 0; }
    std::string_view text() const { return {bytes_.get(), size_}; }

    void put(std::string_view text) {
        make_room(text.size());
        copy_small(bytes_.get() + size_, text);
        size_ += text.size();
    }
    void put_number(std::uint64_t value, int base = 10) {
        make_room(kDigitsMax);
        char* const at = bytes_.get() + size_;
        size_ = static_cast<std::size_t>(std::to_chars(at, at + kDigitsMax, value, base).ptr -
                                         bytes_.get());
    }
    // "name: value\r\n". Returns where the value is, until the next call.
    char* put_field(std::string_view name, std::string_view value) {
        make_room(name.size() + value.size() + 4);
        char* at = copy_small(bytes_.get() + size_, name);
        at = copy_small(at, std::string_view(": ", 2));
        char* const end = copy_small(at, value);
        copy_small(end, std::string_view("\r\n", 2));
        size_ += name.size() + value.size() + 4;
        return at;
    }

  private:
    static constexpr std::size_t kDigitsMax = 24;
    static constexpr std::size_t kLeastBytes = 1024;

    void make_room(std::size_t more) {
        if (room_ - size_ < more) grow(more);
    }
    void grow(std::size_t more) {
        const std::size_t room = std::max({kLeastBytes, 2 * room_, size_ + more});
        auto bytes = std::make_unique_for_overwrite<char[]>(room);
        if (size_ > 0) std::memcpy(bytes.get(), bytes_.get(), size_);
        bytes_ = std::move(bytes);
        room_ = room;
    }

    std::unique_ptr<char[]> bytes_;
    std::size_t size_ = 0;
    std::size_t room_ = 0;
};

}  // namespace hearth
