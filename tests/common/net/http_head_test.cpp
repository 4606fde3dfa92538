// Heads: what the strict parser takes, what it refuses and with which status, however bytes arrive.
#include "common/net/http_head.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace hearth {
namespace {

std::string request(std::string_view line_and_fields) {
    return std::string(line_and_fields) + "\r\n\r\n";
}

HeadOutcome parse(std::string_view bytes, RequestHead& head, HeadLimits limits = {}) {
    return parse_request_head(bytes, limits, head);
}

TEST(RequestHead, ReadsAllParts) {
    const std::string bytes = request(
        "POST /v1/chat/completions?a=1&b=%20 HTTP/1.1\r\nHost: api.example.com:8080\r\n"
        "X-Session-Id:  \t abc \t\r\nEmpty:\r\nContent-Length: 12\r\nExpect: 100-Continue");
    RequestHead head;
    const std::string with_body = bytes + "hello world!";
    const HeadOutcome outcome = parse(with_body, head);
    ASSERT_EQ(outcome.progress, HeadProgress::kDone) << outcome.error.message;
    EXPECT_EQ(outcome.consumed, bytes.size());
    EXPECT_EQ(head.method, "POST");
    EXPECT_EQ(head.target, "/v1/chat/completions?a=1&b=%20");
    EXPECT_EQ(head.path, "/v1/chat/completions");
    EXPECT_EQ(head.query, "a=1&b=%20");
    EXPECT_EQ(head.version_minor, 1);
    EXPECT_EQ(head.fields.size(), 5u);
    EXPECT_EQ(head.find("x-session-id"), "abc");
    EXPECT_EQ(head.find("empty"), "");
    EXPECT_EQ(head.count("EMPTY"), 1u);
    EXPECT_EQ(head.count("absent"), 0u);
    EXPECT_EQ(head.body, BodyKind::kLength);
    EXPECT_EQ(head.content_length, 12u);
    EXPECT_TRUE(head.keep_alive);
    EXPECT_TRUE(head.expect_continue);
}

TEST(RequestHead, IsResetBetweenUses) {
    RequestHead head;
    const std::string first = request(
        "POST /a?q HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nConnection: close\r\n"
        "Expect: 100-continue");
    const std::string second = request("GET / HTTP/1.1\r\nHost: a");
    ASSERT_EQ(parse(first, head).progress, HeadProgress::kDone);
    const std::size_t capacity = head.fields.capacity();
    ASSERT_EQ(parse(second, head).progress, HeadProgress::kDone);
    EXPECT_EQ(head.fields.size(), 1u);
    EXPECT_EQ(head.fields.capacity(), capacity);
    EXPECT_EQ(head.query, "");
    EXPECT_EQ(head.body, BodyKind::kNone);
    EXPECT_EQ(head.content_length, 0u);
    EXPECT_TRUE(head.keep_alive);
    EXPECT_FALSE(head.expect_continue);
}

TEST(RequestHead, KeepAliveFollowsVersionAndConnection) {
    const struct {
        const char* fields;
        bool expected;
    } cases[] = {
        {"GET / HTTP/1.1\r\nHost: a", true},
        {"GET / HTTP/1.1\r\nHost: a\r\nConnection: close", false},
        {"GET / HTTP/1.1\r\nHost: a\r\nConnection: x, ClOsE ,y", false},
        {"GET / HTTP/1.1\r\nHost: a\r\nConnection: x\r\nConnection: close", false},
        {"GET / HTTP/1.1\r\nHost: a\r\nConnection: closed", true},
        {"GET / HTTP/1.0", false},
        {"GET / HTTP/1.0\r\nConnection: keep-alive", true},
        {"GET / HTTP/1.0\r\nConnection: keep-alive, close", false},
    };
    for (const auto& c : cases) {
        RequestHead head;
        ASSERT_EQ(parse(request(c.fields), head).progress, HeadProgress::kDone) << c.fields;
        EXPECT_EQ(head.keep_alive, c.expected) << c.fields;
    }
}

struct Refused {
    const char* bytes;
    int status;
};

// Each head ends properly, so a parser that overlooked its flaw would say kDone.
const Refused kRefused[] = {
    // Request line.
    {"GET  / HTTP/1.1\r\nHost: a\r\n\r\n", 400},
    {"GET /  HTTP/1.1\r\nHost: a\r\n\r\n", 400},
    {"GET / HTTP/1.1 \r\nHost: a\r\n\r\n", 400},
    {" GET / HTTP/1.1\r\nHost: a\r\n\r\n", 400},
    {"GET\t/\tHTTP/1.1\r\nHost: a\r\n\r\n", 400},
    {"GET /\r\nHost: a\r\n\r\n", 400},
    {"GET\r\nHost: a\r\n\r\n", 400},
    {"/ HTTP/1.1\r\nHost: a\r\n\r\n", 400},
    {"G(T / HTTP/1.1\r\nHost: a\r\n\r\n", 400},
    {"GET / HTTP/1.1\nHost: a\r\n\r\n", 400},
    {"GET / HTTP/1.1\rHost: a\r\n\r\n", 400},
    {"GET / HTTP/1.1\r\r\nHost: a\r\n\r\n", 400},
    {"GET / http/1.1\r\nHost: a\r\n\r\n", 400},
    {"GET / HTTP/1.1x\r\nHost: a\r\n\r\n", 400},
    {"GET / HTTP/11\r\nHost: a\r\n\r\n", 400},
    {"GET / HTTP/1.2\r\nHost: a\r\n\r\n", 505},
    {"GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505},
    {"GET / HTTP/0.9\r\nHost: a\r\n\r\n", 505},
    {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400},
    {"\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 400},
    {"ABCDEFGHIJKLMNOPQRSTUVWXYZABCDEFG / HTTP/1.1\r\nHost: a\r\n\r\n", 501},
    // Target.
    {"GET http://a/ HTTP/1.1\r\nHost: a\r\n\r\n", 400},
    {"CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n", 400},
    {"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", 400},
    {"GET a HTTP/1.1\r\nHost: a\r\n\r\n", 400},
    {"GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n", 400},
    {"GET /a\x7f HTTP/1.1\r\nHost: a\r\n\r\n", 400},
    {"GET /a\x01 HTTP/1.1\r\nHost: a\r\n\r\n", 400},
    {"GET /\xc3\xa9 HTTP/1.1\r\nHost: a\r\n\r\n", 400},
    {"GET /a\\b HTTP/1.1\r\nHost: a\r\n\r\n", 400},
    {"GET /%2 HTTP/1.1\r\nHost: a\r\n\r\n", 400},
    {"GET /%zz HTTP/1.1\r\nHost: a\r\n\r\n", 400},
    // Fields.
    {"GET / HTTP/1.1\r\nHost: a\r\nX : b\r\n\r\n", 400},
    {"GET / HTTP/1.1\r\nHost: a\r\n X: b\r\n\r\n", 400},
    {"GET / HTTP/1.1\r\n X: b\r\nHost: a\r\n\r\n", 400},
    {"GET / HTTP/1.1\r\nHost: a\r\nX: b\r\n c\r\n\r\n", 400},
    {"GET / HTTP/1.1\r\nHost: a\r\nX: b\r\n\tc\r\n\r\n", 400},
    {"GET / HTTP/1.1\r\nHost: a\r\n: b\r\n\r\n", 400},
    {"GET / HTTP/1.1\r\nHost: a\r\nX\r\n\r\n", 400},
    {"GET / HTTP/1.1\r\nHost: a\r\nX;: b\r\n\r\n", 400},
    {"GET / HTTP/1.1\r\nHost: a\r\nX\xa0: b\r\n\r\n", 400},
    {"GET / HTTP/1.1\r\nHost: a\r\nX: b\rc\r\n\r\n", 400},
    {"GET / HTTP/1.1\r\nHost: a\r\nX: b\nY: c\r\n\r\n", 400},
    {"GET / HTTP/1.1\r\nHost: a\r\nX: b\x0b\r\n\r\n", 400},
    {"GET / HTTP/1.1\r\nHost: a\r\nX: b\x7f\r\n\r\n", 400},
    {"GET / HTTP/1.1\r\nHost: a\r\n\n", 400},
    {"GET / HTTP/1.1\r\nHost: a\r\n\r\r\n\r\n", 400},
    {"GET / HTTP/1.1\r\nHost: a\r\nExpect: 200-ok\r\n\r\n", 417},
    // Host.
    {"GET / HTTP/1.1\r\n\r\n", 400},
    {"GET / HTTP/1.1\r\nHost:\r\n\r\n", 400},
    {"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400},
    {"GET / HTTP/1.0\r\nHost: a\r\nhost: b\r\n\r\n", 400},
    {"GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400},
    {"GET / HTTP/1.1\r\nHost: a, b\r\n\r\n", 400},
    {"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", 400},
    {"GET / HTTP/1.1\r\nHost: u@a\r\n\r\n", 400},
    // Framing: the ways to smuggle.
    {"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx", 400},
    {"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx", 400},
    {"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1, 1\r\n\r\nx", 400},
    {"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\nx", 400},
    {"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\nx", 400},
    {"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0x1\r\n\r\nx", 400},
    {"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1 1\r\n\r\nx", 400},
    {"POST / HTTP/1.1\r\nHost: a\r\nContent-Length:\r\n\r\nx", 400},
    {"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 18446744073709551617\r\n\r\nx", 400},
    {"POST / HTTP/1.1\r\nHost: a\r\nContent-Length : 1\r\n\r\nx", 400},
    {"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n", 400},
    {"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n", 400},
    {"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n"
     "Transfer-Encoding: chunked\r\n\r\n",
     400},
    {"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: identity\r\n\r\n", 501},
    {"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", 501},
    {"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, gzip\r\n\r\n", 501},
    {"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked,\r\n\r\n", 501},
    {"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n", 501},
    {"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \"chunked\"\r\n\r\n", 501},
    {"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\r\n\r\n", 501},
    {"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\x0b chunked\r\n\r\n", 400},
    {"POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", 400},
};

// Each option is compared with each field when a head is forwarded.
TEST(RequestHead, ConnectionOptionsAreBounded) {
    const auto with = [](int options) {
        std::string text = "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nConnection: ";
        for (int i = 1; i < options; ++i) text += i > 1 ? ",a" : "a";
        return text + "\r\n\r\n";
    };
    RequestHead head;
    EXPECT_EQ(parse_request_head(with(16), HeadLimits{}, head).progress, HeadProgress::kDone);
    const HeadOutcome outcome = parse_request_head(with(17), HeadLimits{}, head);
    EXPECT_EQ(outcome.progress, HeadProgress::kError);
    EXPECT_EQ(outcome.error.status, 431);
}

TEST(RequestHead, RefusesWhatCouldBeReadTwoWays) {
    for (const Refused& c : kRefused) {
        RequestHead head;
        const HeadOutcome outcome = parse(c.bytes, head);
        EXPECT_EQ(outcome.progress, HeadProgress::kError) << c.bytes;
        EXPECT_EQ(outcome.error.status, c.status) << c.bytes << outcome.error.message;
        EXPECT_FALSE(outcome.error.message.empty());
    }
}

TEST(RequestHead, RefusesBytesThatAreNotHttpAtOnce) {
    RequestHead head;
    EXPECT_EQ(parse("\x16\x03\x01", head).error.status, 400);  // A TLS hello.
    EXPECT_EQ(parse("", head).progress, HeadProgress::kNeedMore);
    EXPECT_EQ(parse("GE", head).progress, HeadProgress::kNeedMore);
}

TEST(RequestHead, AcceptsOneEmptyLineBefore) {
    RequestHead head;
    const std::string bytes = request("\r\nGET / HTTP/1.1\r\nHost: a");
    const HeadOutcome outcome = parse(bytes, head);
    ASSERT_EQ(outcome.progress, HeadProgress::kDone);
    EXPECT_EQ(outcome.consumed, bytes.size());
}

TEST(RequestHead, AcceptsUnusualButClearHeads) {
    for (const char* bytes :
         {"GET / HTTP/1.0\r\n\r\n", "M-SEARCH / HTTP/1.1\r\nhost: [::1]:80\r\n\r\n",
          "GET /?a=b?c=/d HTTP/1.1\r\nHOST: a_b-c.d\r\n\r\n",
          "GET / HTTP/1.1\r\nHost: a\r\nUser-Agent: \xe3\x81\xb2\xe3/1.0\r\n\r\n",
          "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 003\r\n\r\nabc",
          "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\tCHUNKED \r\n\r\n",
          "GET / HTTP/1.1\r\nHost: a\r\n|~: 1\r\n\r\n"}) {
        RequestHead head;
        EXPECT_EQ(parse(bytes, head).progress, HeadProgress::kDone) << bytes;
    }
}

TEST(RequestHead, LimitsAreExact) {
    RequestHead head;
    HeadLimits limits;
    const std::string bytes = request("GET /abc HTTP/1.1\r\nHost: a\r\nX: y");
    limits.head_bytes_max = bytes.size();
    EXPECT_EQ(parse(bytes, head, limits).progress, HeadProgress::kDone);
    limits.head_bytes_max = bytes.size() - 1;
    EXPECT_EQ(parse(bytes, head, limits).error.status, 431);
    EXPECT_EQ(parse(bytes.substr(0, bytes.size() - 2), head, limits).progress,
              HeadProgress::kNeedMore);
    limits = HeadLimits{};
    limits.fields_max = 2;
    EXPECT_EQ(parse(bytes, head, limits).progress, HeadProgress::kDone);
    limits.fields_max = 1;
    EXPECT_EQ(parse(bytes, head, limits).error.status, 431);
    limits = HeadLimits{};
    limits.target_bytes_max = 4;
    EXPECT_EQ(parse(bytes, head, limits).progress, HeadProgress::kDone);
    limits.target_bytes_max = 3;
    EXPECT_EQ(parse(bytes, head, limits).error.status, 414);
    limits = HeadLimits{};
    EXPECT_EQ(parse("GET /" + std::string(limits.head_bytes_max, 'a'), head).error.status, 414);
}

// What the parser says after each byte must be the outcome for the whole, only earlier or later.
void expect_same_byte_by_byte(const std::string& bytes) {
    RequestHead whole;
    const HeadOutcome expected = parse(bytes, whole);
    for (std::size_t n = 0; n <= bytes.size(); ++n) {
        RequestHead head;
        const HeadOutcome outcome = parse(std::string_view(bytes).substr(0, n), head);
        if (outcome.progress == HeadProgress::kNeedMore) continue;
        EXPECT_EQ(outcome.progress, expected.progress) << bytes << " at " << n;
        EXPECT_EQ(outcome.error.status, expected.error.status) << bytes << " at " << n;
        EXPECT_EQ(outcome.error.message, expected.error.message) << bytes << " at " << n;
        EXPECT_EQ(outcome.consumed, expected.consumed) << bytes << " at " << n;
        return;
    }
    EXPECT_EQ(expected.progress, HeadProgress::kNeedMore) << bytes;
}

TEST(RequestHead, ByteByByteGivesTheSame) {
    for (const Refused& c : kRefused) expect_same_byte_by_byte(c.bytes);
    expect_same_byte_by_byte(request("POST /x?y HTTP/1.1\r\nHost: a\r\nContent-Length: 3"));
    expect_same_byte_by_byte("GET / HTTP/1.1\r\nHost: a");
}

TEST(ResponseHead, BodyKindFollowsStatusAndFields) {
    const struct {
        const char* bytes;
        const char* method;
        BodyKind body;
        std::uint64_t length;
        bool keep_alive;
    } cases[] = {
        {"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n", "GET", BodyKind::kLength, 7, true},
        {"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "GET", BodyKind::kNone, 0, true},
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "GET", BodyKind::kChunked, 0,
         true},
        {"HTTP/1.1 200 OK\r\n\r\n", "GET", BodyKind::kUntilClose, 0, false},
        {"HTTP/1.0 200 OK\r\nContent-Length: 7\r\n\r\n", "GET", BodyKind::kLength, 7, false},
        {"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n", "HEAD", BodyKind::kNone, 0, true},
        {"HTTP/1.1 204\r\n\r\n", "GET", BodyKind::kNone, 0, true},
        {"HTTP/1.1 304 \r\nContent-Length: 7\r\n\r\n", "GET", BodyKind::kNone, 0, true},
        {"HTTP/1.1 100 Continue\r\n\r\n", "POST", BodyKind::kNone, 0, true},
        {"HTTP/1.1 500 No\xc3\xa9\r\nConnection: close\r\nContent-Length: 1\r\n\r\n", "GET",
         BodyKind::kLength, 1, false},
    };
    for (const auto& c : cases) {
        ResponseHead head;
        const HeadOutcome outcome = parse_response_head(c.bytes, {}, c.method, head);
        ASSERT_EQ(outcome.progress, HeadProgress::kDone) << c.bytes << outcome.error.message;
        EXPECT_EQ(outcome.consumed, std::string_view(c.bytes).size());
        EXPECT_EQ(head.body, c.body) << c.bytes;
        EXPECT_EQ(head.content_length, c.length) << c.bytes;
        EXPECT_EQ(head.keep_alive, c.keep_alive) << c.bytes;
    }
}

TEST(ResponseHead, RefusesWhatCouldBeReadTwoWays) {
    for (const char* bytes :
         {"HTTP/1.1 200 OK\nContent-Length: 1\r\n\r\n", "HTTP/1.1 20 OK\r\n\r\n",
          "HTTP/1.1 2000 OK\r\n\r\n", "HTTP/1.1 099 OK\r\n\r\n", "HTTP/1.1 600 OK\r\n\r\n",
          "HTTP/2.0 200 OK\r\n\r\n", "HTTP/1.1  200 OK\r\n\r\n", "ICY 200 OK\r\n\r\n", "\r\n\r\n",
          "HTTP/1.1 200 O\x01K\r\n\r\n",
          "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n",
          "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
          "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
          "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
          "HTTP/1.1 200 OK\r\nX: a\r\n b\r\n\r\n", "HTTP/1.1 200 OK\r\nX : a\r\n\r\n"}) {
        ResponseHead head;
        const HeadOutcome outcome = parse_response_head(bytes, {}, "GET", head);
        EXPECT_EQ(outcome.progress, HeadProgress::kError) << bytes;
        EXPECT_EQ(outcome.error.status, 502) << bytes;
    }
}

TEST(Fields, ConnectionFieldsAreKnownWhateverTheirCase) {
    EXPECT_TRUE(is_connection_field("Transfer-Encoding"));
    EXPECT_TRUE(is_connection_field("KEEP-ALIVE"));
    EXPECT_FALSE(is_connection_field("content-type"));
    EXPECT_TRUE(is_field_value("a\tb \xff"));
    EXPECT_FALSE(is_field_value("a\r\nb"));
    EXPECT_FALSE(is_field_value(std::string_view("a\0b", 3)));
    EXPECT_FALSE(is_field_name(""));
}

}  // namespace
}  // namespace hearth
