// SseReader: events come out whole and once, wherever the byte stream is cut.
#include "common/net/sse.h"

#include <gtest/gtest.h>

#include <vector>

namespace hearth {
namespace {

std::vector<std::string> read(const std::vector<std::string_view>& pieces) {
    SseReader reader;
    std::vector<std::string> events;
    for (std::string_view piece : pieces)
        reader.feed(piece, [&](std::string_view data) { events.emplace_back(data); });
    return events;
}

const std::string kStream =
    ": comment\ndata: {\"a\":1}\n\ndata:no space\r\n\r\nevent: x\rid: 7\rdata:  two\rdata: "
    "lines\r\r"
    "retry: 5\n\ndata\n\ndata: [DONE]\n\ndata: never ended\n";

const std::vector<std::string> kEvents = {"{\"a\":1}", "no space", " two\nlines", "", "[DONE]"};

TEST(Sse, ReadsEvents) {
    EXPECT_EQ(read({kStream}), kEvents);
}

TEST(Sse, EverySplitGivesTheSame) {
    const std::string_view all = kStream;
    for (std::size_t i = 0; i <= all.size(); ++i)
        ASSERT_EQ(read({all.substr(0, i), all.substr(i)}), kEvents) << i;
    std::vector<std::string_view> bytes;
    for (std::size_t i = 0; i < all.size(); ++i) bytes.push_back(all.substr(i, 1));
    EXPECT_EQ(read(bytes), kEvents);
}

TEST(Sse, EndlessEventBreaksTheReader) {
    SseReader reader;
    const std::string line = "data: " + std::string(1024 * 1024, 'x') + "\n";
    const auto fail = [](std::string_view) { FAIL(); };
    for (int i = 0; i < 16; ++i) reader.feed(line, fail);
    EXPECT_TRUE(reader.broken());
    reader.feed("\n\ndata: a\n\n", fail);
}

}  // namespace
}  // namespace hearth
