// ChunkedDecoder: every split of the input gives the same body, and crooked framing is refused.
#include <gtest/gtest.h>

#include <optional>
#include <vector>

#include "common/net/http_head.h"

namespace hearth {
namespace {

struct Decoded {
    std::string body;
    std::size_t consumed = 0;
    bool done = false;
    bool bad = false;
    bool operator==(const Decoded&) const = default;
};

// Feeds `pieces` as a connection would: what is left over is offered again with the next piece.
Decoded decode(const std::vector<std::string_view>& pieces) {
    ChunkedDecoder decoder;
    Decoded out;
    for (std::string_view rest : pieces) {
        while (!rest.empty()) {
            const ChunkedDecoder::Piece piece = decoder.next(rest);
            out.body.append(piece.body);
            out.consumed += piece.consumed;
            out.done = piece.done;
            out.bad = piece.bad;
            if (piece.done || piece.bad) return out;
            if (piece.consumed == 0) {
                ADD_FAILURE() << "no progress";
                return out;
            }
            rest.remove_prefix(piece.consumed);
        }
    }
    return out;
}

const std::string kBody =
    "5\r\nhello\r\n0A;name;b=c;d=\"x\\\"y;z\"\r\n0123456789\r\n1\r\n \r\n"
    "0\r\nTrailer-One: a\r\nHearth-Session: evil\r\n\r\n";

TEST(Chunked, DecodesAndDropsExtensionsAndTrailers) {
    const Decoded out = decode({kBody + "GET /next"});
    EXPECT_TRUE(out.done);
    EXPECT_EQ(out.body, "hello0123456789 ");
    EXPECT_EQ(out.consumed, kBody.size());
}

TEST(Chunked, EverySplitGivesTheSame) {
    const Decoded whole = decode({kBody});
    const std::string_view all = kBody;
    for (std::size_t i = 0; i <= all.size(); ++i)
        for (std::size_t j = i; j <= all.size(); ++j)
            ASSERT_EQ(decode({all.substr(0, i), all.substr(i, j - i), all.substr(j)}), whole)
                << i << " " << j;
}

TEST(Chunked, EndIsNotDoneBeforeItsLastByte) {
    for (std::size_t n = 0; n < kBody.size(); ++n) {
        const Decoded out = decode({std::string_view(kBody).substr(0, n)});
        EXPECT_FALSE(out.done) << n;
        EXPECT_FALSE(out.bad) << n;
    }
}

TEST(Chunked, StaysDoneAndStaysBad) {
    ChunkedDecoder decoder;
    EXPECT_TRUE(decoder.next("0\r\n\r\nabc").done);
    const ChunkedDecoder::Piece after = decoder.next("abc");
    EXPECT_TRUE(after.done);
    EXPECT_EQ(after.consumed, 0u);
    ChunkedDecoder broken;
    EXPECT_TRUE(broken.next("x").body.empty());
    EXPECT_TRUE(broken.next("\r\n").bad);
    EXPECT_TRUE(broken.next("1\r\na\r\n").bad);
}

TEST(Chunked, RefusesCrookedFraming) {
    for (const char* bytes : {"\r\n",
                              "x\r\n",
                              "-1\r\n",
                              "+1\r\n",
                              "0x1\r\n",
                              " 1\r\na\r\n",
                              "1 \r\na\r\n",
                              "1\na\r\n",
                              "1\r\na\n0\r\n\r\n",
                              "1\r\nab\r\n",
                              "1\r\na\r\r\n",
                              "2;\r\naa\r\n0\r\n\r\n",
                              "2 ;a\r\naa\r\n",
                              "2; a\r\naa\r\n",
                              "2;a=\r\naa\r\n",
                              "2;a=\"b\r\naa\r\n",
                              "2;a=\"b\\\r\naa\r\n",
                              "2;a b\r\naa\r\n",
                              "2;a\x01\r\naa\r\n",
                              "2\r;a\r\naa\r\n",
                              "0\r\nTrailer\r\n\r\n",
                              "0\r\n: a\r\n\r\n",
                              "0\r\nA : b\r\n\r\n",
                              "0\r\n A: b\r\n\r\n",
                              "0\r\nA: b\n\r\n",
                              "0\r\nA: b\x01\r\n\r\n",
                              "0\r\n\n",
                              "3\r\nfoo\r\n\r\n",
                              "1000000000000000\r\n",
                              "fffffffffffffffff\r\n"}) {
        EXPECT_TRUE(decode({bytes}).bad) << bytes;
    }
}

TEST(Chunked, ExtensionsAndTrailersAreBounded) {
    const std::string ext(8 * 1024, 'a');
    EXPECT_TRUE(decode({"1;" + ext + "\r\na\r\n0\r\n\r\n"}).bad);
    EXPECT_TRUE(decode({"1;" + ext}).bad);  // Before the line ends.
    EXPECT_TRUE(decode({"0\r\nA: " + ext + "\r\n\r\n"}).bad);
    // Many small ones count together.
    std::string chunks;
    for (int i = 0; i < 200; ++i) chunks += "1;" + std::string(50, 'a') + "\r\nx\r\n";
    EXPECT_TRUE(decode({chunks + "0\r\n\r\n"}).bad);
    std::string trailers = "0\r\n";
    for (int i = 0; i < 200; ++i) trailers += "A: " + std::string(50, 'a') + "\r\n";
    EXPECT_TRUE(decode({trailers + "\r\n"}).bad);
}

}  // namespace
}  // namespace hearth
