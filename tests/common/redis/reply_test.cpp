// Replies: every RESP2 kind, split anywhere, nested, spoilt; and the bytes of commands.
#include "common/redis/reply.h"

#include <gtest/gtest.h>

#include "common/base/rng.h"

namespace hearth {
namespace {

using Kind = Reply::Kind;

// A reply as one line of text.
std::string show(const Reply& reply) {
    switch (reply.kind) {
        case Kind::kNil: return "nil";
        case Kind::kText: return "'" + reply.text + "'";
        case Kind::kInteger: return std::to_string(reply.integer);
        case Kind::kError: return "!" + reply.text;
        case Kind::kArray: break;
    }
    std::string all = "[";
    for (const Reply& item : reply.items) all += (all.size() > 1 ? " " : "") + show(item);
    return all + "]";
}

// All replies in the bytes, separated by spaces; "corrupt" at a protocol error.
std::string read_all(ReplyReader& reader) {
    std::string all;
    while (true) {
        auto reply = reader.next();
        if (!reply) {
            EXPECT_EQ(reply.error().code, ErrorCode::kCorrupt);
            return all + "corrupt";
        }
        if (!reply->has_value()) return all;
        all += show(**reply) + " ";
    }
}

std::string read_all(std::string_view bytes) {
    ReplyReader reader;
    reader.feed(bytes);
    return read_all(reader);
}

constexpr std::string_view kStream =
    "+OK\r\n-ERR bad\r\n:-42\r\n$5\r\nhe\r\no\r\n$-1\r\n$0\r\n\r\n*-1\r\n*0\r\n"
    "*3\r\n$1\r\na\r\n:7\r\n*2\r\n$-1\r\n-WRONGTYPE x\r\n:9223372036854775807\r\n";
constexpr std::string_view kShown =
    "'OK' !ERR bad -42 'he\r\no' nil '' nil [] ['a' 7 [nil !WRONGTYPE x]] 9223372036854775807 ";

TEST(ReplyReader, ReadsEveryKind) {
    EXPECT_EQ(read_all(kStream), kShown);
}

TEST(ReplyReader, DoesNotCareHowBytesArrive) {
    constexpr std::uint64_t kSeed = 11;
    SCOPED_TRACE("seed " + std::to_string(kSeed));
    Rng rng(kSeed);
    for (int round = 0; round < 200; ++round) {
        ReplyReader reader;
        std::string all;
        for (std::size_t at = 0; at < kStream.size();) {
            const std::size_t size =
                std::min<std::size_t>(1 + rng.below(round % 9 + 1), kStream.size() - at);
            reader.feed(kStream.substr(at, size));
            at += size;
            all += read_all(reader);
        }
        ASSERT_EQ(all, kShown);
    }
}

TEST(ReplyReader, RefusesWhatIsNotRedis) {
    for (const std::string_view bytes :
         {"HTTP/1.1 400 Bad Request\r\n\r\n", "?\r\n", "$-2\r\n", "$x\r\n", "*x\r\n",
          "*99999999999999999999\r\n", "$99999999999999999999\r\n", ":12x\r\n"})
        EXPECT_EQ(read_all(bytes), "corrupt") << bytes;
    std::string nested;
    for (int i = 0; i < 100; ++i) nested += "*1\r\n";
    EXPECT_EQ(read_all(nested + ":1\r\n"), "corrupt");
}

TEST(ReplyReader, RefusesAReplyThatNeverEnds) {
    ReplyReader reader;
    reader.feed("$500000000\r\n");
    const std::string block(1 << 20, 'x');
    for (int i = 0; i < 15; ++i) {
        reader.feed(block);
        EXPECT_EQ(read_all(reader), "");
    }
    reader.feed(block);
    reader.feed(block);
    EXPECT_EQ(read_all(reader), "corrupt");
}

TEST(ReplyReader, SurvivesRandomBytes) {
    constexpr std::uint64_t kSeed = 12;
    SCOPED_TRACE("seed " + std::to_string(kSeed));
    Rng rng(kSeed);
    constexpr std::string_view kLikely = "+-:$*0123456789\r\n\r\nab";
    for (int round = 0; round < 5'000; ++round) {
        ReplyReader reader;
        std::string bytes;
        for (std::uint64_t n = rng.below(80); n > 0; --n)
            bytes += rng.below(20) == 0 ? static_cast<char>(rng.below(256))
                                        : kLikely[rng.below(kLikely.size())];
        reader.feed(bytes);
        read_all(reader);
    }
}

TEST(FormatCommand, IsBinarySafe) {
    using namespace std::string_literals;
    EXPECT_EQ(command_of("SET", "k\r\n", "\0 v"s),
              "*3\r\n$3\r\nSET\r\n$3\r\nk\r\n\r\n$3\r\n\0 v\r\n"s);
    EXPECT_EQ(format_command({"ECHO", std::string_view()}), "*2\r\n$4\r\nECHO\r\n$0\r\n\r\n");
}

TEST(ErrorOf, KeepsTheWordsOfRedisButNotOurArguments) {
    Reply reply;
    reply.kind = Kind::kError;
    reply.text = "OOM command not allowed when used memory > 'maxmemory'.";
    EXPECT_EQ(error_of(reply).message, "Redis answered: " + reply.text);
    EXPECT_EQ(error_of(reply).code, ErrorCode::kUnavailable);
    reply.text = "ERR unknown command `AUTH`, with args beginning with: `hunter2`, ";
    EXPECT_EQ(error_of(reply).message, "Redis answered: ERR unknown command `AUTH`");
    reply.text = std::string(100'000, 'x');
    EXPECT_LT(error_of(reply).message.size(), 300u);
}

}  // namespace
}  // namespace hearth
