// Reply: one answer of Redis as a plain value, and the bytes of a command, by way of hiredis.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/result.h"

struct redisReader;

namespace hearth {

struct Reply {
    enum class Kind { kNil, kText, kInteger, kArray, kError } kind = Kind::kNil;
    std::string text;          // kText, kError
    std::int64_t integer = 0;  // kInteger
    std::vector<Reply> items;  // kArray
};

// A reply of kind kError as kUnavailable, with Redis' own words (LOADING, READONLY, OOM, NOAUTH,
// ...) but not the arguments of ours that some of its messages repeat.
Error error_of(const Reply& reply);

// The bytes that ask Redis for `argv` (RESP array of bulk strings).
std::string format_command(const std::vector<std::string_view>& argv);

// The same from the arguments themselves. (g++ 12 refuses braced lists inside a co_await.)
template <typename... Args>
std::string command_of(const Args&... args) {
    return format_command(std::vector<std::string_view>{std::string_view(args)...});
}

// Turns received bytes into replies. One owner. Bounded: a reply beyond kReplyBytesMax is kCorrupt.
class ReplyReader {
  public:
    static constexpr std::size_t kReplyBytesMax = 16 << 20;

    ReplyReader();
    ~ReplyReader();
    ReplyReader(const ReplyReader&) = delete;
    ReplyReader& operator=(const ReplyReader&) = delete;

    void feed(std::string_view bytes);
    // The next whole reply; nullopt when more bytes are needed; kCorrupt on a protocol error.
    Result<std::optional<Reply>> next();

  private:
    redisReader* reader_;
    std::size_t bytes_since_reply_ = 0;
};

}  // namespace hearth
