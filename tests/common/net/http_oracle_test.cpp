// Differential test: what our parser accepts, Beast must accept with the same meaning. The corpus
// of known attacks, and random mutations of it, go through both.
#include <gtest/gtest.h>

#include <algorithm>
#include <boost/beast/http/empty_body.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/json.hpp>
#include <fstream>
#include <optional>

#include "common/base/rng.h"
#include "common/net/http_head.h"

namespace hearth {
namespace {

namespace http = boost::beast::http;

std::string decode_base64(std::string_view text) {
    static constexpr std::string_view kDigits =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    std::string out;
    unsigned bits = 0;
    int count = 0;
    for (char c : text) {
        const std::size_t digit = kDigits.find(c);
        if (digit == std::string_view::npos) break;  // Padding.
        bits = (bits << 6 | static_cast<unsigned>(digit)) & 0xffffff;
        count += 6;
        if (count < 8) continue;
        count -= 8;
        out.push_back(static_cast<char>(bits >> count & 0xff));
    }
    return out;
}

// A head written anew from what was understood of it.
std::string serialise(const RequestHead& head) {
    std::string out = std::string(head.method) + " " + std::string(head.target) + " HTTP/1." +
                      std::to_string(head.version_minor) + "\r\n";
    for (const HeaderField& field : head.fields)
        out += std::string(field.name) + ": " + std::string(field.value) + "\r\n";
    return out + "\r\n";
}

bool same(const RequestHead& a, const RequestHead& b) {
    const bool fields = std::equal(
        a.fields.begin(), a.fields.end(), b.fields.begin(), b.fields.end(),
        [](const auto& x, const auto& y) { return x.name == y.name && x.value == y.value; });
    return fields && a.method == b.method && a.target == b.target && a.body == b.body &&
           a.content_length == b.content_length && a.keep_alive == b.keep_alive &&
           a.version_minor == b.version_minor;
}

// What Beast makes of the same bytes; nothing if it refuses them.
struct BeastHead {
    std::string method;
    std::string target;
    std::optional<std::uint64_t> content_length;
    bool chunked = false;
    bool keep_alive = false;
    std::vector<std::pair<std::string, std::string>> fields;
};

std::optional<BeastHead> parse_with_beast(std::string_view head) {
    http::request_parser<http::empty_body> parser;
    parser.header_limit(1 << 20);
    parser.body_limit(boost::none);
    boost::system::error_code ec;
    parser.put(boost::asio::buffer(head.data(), head.size()), ec);
    // Only the head was given: the missing body is no refusal, a body where none may be is.
    if (!parser.is_header_done()) return std::nullopt;
    if (ec && ec != http::error::need_more && ec != http::error::unexpected_body)
        return std::nullopt;
    BeastHead out;
    out.method = std::string(parser.get().method_string());
    out.target = std::string(parser.get().target());
    if (parser.content_length()) out.content_length = *parser.content_length();
    out.chunked = parser.chunked();
    out.keep_alive = parser.get().keep_alive();
    for (const auto& field : parser.get())
        out.fields.emplace_back(field.name_string(), field.value());
    return out;
}

// The heart of the test; `seen` names the input in failures.
void check_against_beast(const std::string& raw, const std::string& seen, int& accepted) {
    RequestHead head;
    const HeadOutcome outcome = parse_request_head(raw, {}, head);
    if (outcome.progress != HeadProgress::kDone) return;
    ++accepted;
    ASSERT_LE(outcome.consumed, raw.size()) << seen;
    const std::string again = serialise(head);
    RequestHead second;
    const HeadOutcome repeated = parse_request_head(again, {}, second);
    ASSERT_EQ(repeated.progress, HeadProgress::kDone) << seen << repeated.error.message;
    EXPECT_EQ(repeated.consumed, again.size()) << seen;
    EXPECT_TRUE(same(head, second)) << seen;
    // Beast 1.81 knows no empty line before a request.
    std::string_view bytes = std::string_view(raw).substr(0, outcome.consumed);
    if (bytes.starts_with("\r\n")) bytes.remove_prefix(2);
    const auto beast = parse_with_beast(bytes);
    ASSERT_TRUE(beast.has_value()) << seen;
    EXPECT_EQ(beast->method, head.method) << seen;
    EXPECT_EQ(beast->target, head.target) << seen;
    EXPECT_EQ(beast->chunked, head.body == BodyKind::kChunked) << seen;
    EXPECT_EQ(beast->content_length.value_or(0), head.content_length) << seen;
    // Of several Connection fields Beast looks at one; we obey a "close" in any.
    if (head.count("connection") < 2) {
        EXPECT_EQ(beast->keep_alive, head.keep_alive) << seen;
    }
    // Beast moves fields of one name together; apart from that the order is the sender's.
    std::vector<std::pair<std::string, std::string>> fields;
    for (const HeaderField& field : head.fields) fields.emplace_back(field.name, field.value);
    std::vector<std::pair<std::string, std::string>> theirs = beast->fields;
    std::sort(fields.begin(), fields.end());
    std::sort(theirs.begin(), theirs.end());
    EXPECT_EQ(theirs, fields) << seen;
}

struct Case {
    std::string id;
    std::string expect;
    std::string raw;
};

std::vector<Case> corpus() {
    const std::string path =
        std::string(HEARTH_SOURCE_DIR) + "/../shared/suites/http1/corpus.jsonl";
    std::ifstream file(path);
    std::vector<Case> cases;
    for (std::string line; std::getline(file, line);) {
        const boost::json::value value = boost::json::parse(line);
        const auto text = [&](const char* key) { return std::string(value.at(key).as_string()); };
        cases.push_back(
            {text("suite") + "/" + text("id"), text("expect"), decode_base64(text("raw"))});
    }
    return cases;
}

TEST(HttpOracle, CorpusIsRefusedOrUnderstoodAsBeastDoes) {
    const std::vector<Case> cases = corpus();
    if (cases.empty()) GTEST_SKIP() << "SKIPPED: ../shared/suites/http1/corpus.jsonl is absent";
    int accepted = 0;
    int refused_attacks = 0;
    for (const Case& c : cases) {
        check_against_beast(c.raw, c.id, accepted);
        RequestHead head;
        const bool done = parse_request_head(c.raw, {}, head).progress == HeadProgress::kDone;
        refused_attacks += c.expect == "reject" && !done ? 1 : 0;
        // An attack that gets through must have lost its sting: no coding beside a length, and
        // every field where its sender put it (checked against Beast above).
        if (c.expect == "reject" && done) {
            EXPECT_EQ(head.count("transfer-encoding") > 0 && head.count("content-length") > 0,
                      false)
                << c.id;
        }
        if (c.expect == "incomplete") {
            EXPECT_FALSE(done) << c.id;
        }
    }
    std::printf("corpus: %zu requests, %d accepted, %d attacks refused\n", cases.size(), accepted,
                refused_attacks);
    EXPECT_GT(accepted, 20);
    EXPECT_GT(refused_attacks, 250);
}

TEST(HttpOracle, CorpusByteByByteGivesTheSame) {
    const std::vector<Case> cases = corpus();
    if (cases.empty()) GTEST_SKIP() << "SKIPPED: ../shared/suites/http1/corpus.jsonl is absent";
    for (const Case& c : cases) {
        RequestHead whole;
        const HeadOutcome expected = parse_request_head(c.raw, {}, whole);
        HeadOutcome outcome;
        RequestHead head;
        for (std::size_t n = 0; n <= c.raw.size(); ++n) {
            outcome = parse_request_head(std::string_view(c.raw).substr(0, n), {}, head);
            if (outcome.progress != HeadProgress::kNeedMore) break;
        }
        EXPECT_EQ(outcome.progress, expected.progress) << c.id;
        EXPECT_EQ(outcome.consumed, expected.consumed) << c.id;
        EXPECT_EQ(outcome.error.message, expected.error.message) << c.id;
    }
}

std::string mutate(std::string bytes, const std::vector<Case>& cases, Rng& rng) {
    static constexpr char kText[] = "\r\n \t:,;\0\x0b\x7f\xa0\xff/?%+-01aZ";
    static constexpr std::string_view kBytes(kText, sizeof kText - 1);
    const std::uint64_t edits = 1 + rng.below(4);
    for (std::uint64_t i = 0; i < edits; ++i) {
        const std::size_t at = rng.below(bytes.size() + 1);
        switch (rng.below(5)) {
            case 0: bytes.insert(at, 1, kBytes[rng.below(kBytes.size())]); break;
            case 1: bytes.erase(at, rng.below(4)); break;
            case 2:
                if (at < bytes.size()) bytes[at] = kBytes[rng.below(kBytes.size())];
                break;
            case 3: bytes.insert(at, bytes.substr(rng.below(bytes.size() + 1), 40)); break;
            case 4: {
                const std::string& other = cases[rng.below(cases.size())].raw;
                bytes.insert(at, other.substr(rng.below(other.size() + 1), 40));
                break;
            }
        }
    }
    return bytes;
}

TEST(HttpOracle, RandomMutationsNeverDisagree) {
    constexpr std::uint64_t seed = 20240607;
    std::printf("seed %llu\n", static_cast<unsigned long long>(seed));
    Rng rng(seed);
    std::vector<Case> cases = corpus();
    cases.push_back({"own", "",
                     "POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n"
                     "X-Session-Id: abc\r\nConnection: close\r\n\r\nhello"});
    cases.push_back({"own chunked", "",
                     "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"});
    int accepted = 0;
    for (int i = 0; i < 40'000 && !HasFailure(); ++i) {
        // Half of the mutants grow from the well-formed heads, where more of them survive.
        const std::size_t pick =
            rng.below(2) ? cases.size() - 1 - rng.below(2) : rng.below(cases.size());
        const std::string raw = mutate(cases[pick].raw, cases, rng);
        check_against_beast(
            raw,
            cases[pick].id + " mutant " + std::to_string(i) + ": " + testing::PrintToString(raw),
            accepted);
        ResponseHead response;
        (void)parse_response_head(raw, {}, "GET", response);
    }
    std::printf("mutants accepted: %d\n", accepted);
    EXPECT_GT(accepted, 1000);
}

}  // namespace
}  // namespace hearth
