// UsageTail: the tokens that an answer says it took, read from its last bytes.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace hearth {

// Owned by one turn. Keeps the end of an answer, JSON or event stream, where every server puts
// `usage`; the rest is not looked at.
class UsageTail {
  public:
    static constexpr std::size_t kTailBytes = 4'096;

    void take(std::string_view piece);
    // usage.total_tokens of the last `usage` that is an object; nothing if there is none. A text in
    // the answer cannot pose as one, since quotes are escaped in it.
    std::optional<std::int64_t> total_tokens() const;

  private:
    std::string tail_;
};

}  // namespace hearth
