// JsonScanner against a grammar of cases, the JSONTestSuite, and every way to cut a document in
// two.
#include "router/session/json_scanner.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

namespace hearth {
namespace {

namespace fs = std::filesystem;

// The tokens of a document that arrives in pieces of `step` bytes, adjacent parts joined: one line.
std::string tokens_of(std::string_view text, std::size_t step) {
    static const char* const kNames[] = {"",  "{", "}", "[", "]", "k",
                                         ":", "t", ".", "s", ";", "BAD"};
    JsonScanner scanner;
    std::string out;
    JsonEvent last = JsonEvent::kNone;
    for (std::size_t at = 0; at < text.size(); at += step) {
        std::string_view rest = text.substr(at, step);
        while (true) {
            const auto piece = scanner.next(rest);
            if (piece.event == JsonEvent::kNone) break;
            if (piece.event != last || piece.text.empty())
                out += kNames[static_cast<int>(piece.event)];
            last = piece.event;
            out += piece.text;
            if (piece.event == JsonEvent::kBad) return out;
        }
    }
    if (!scanner.finish()) return out + "BAD";
    return out;
}

bool accepts(std::string_view text) {
    return !tokens_of(text, text.size()).ends_with("BAD");
}

struct Case {
    std::string_view text;
    std::string_view tokens;
};

TEST(JsonScanner, Tokens) {
    const Case cases[] = {
        {R"({})", "{}"},
        {R"([1,-2.5e+3,true,null])", "[s1;s-2.5e+3;strue;snull;]"},
        {R"({"a":"b","":[{}]})", "{ka:tb.:[{}]}"},
        {R"("\"\\\/\b\f\n\r\t")", "t\"\\/\b\f\n\r\t."},
        {R"("\u0041\u00e9\u20ac\ud83d\ude00")", "tA\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80."},
        {R"("\ud83d")", "t\xef\xbf\xbd."},
        {R"("\ud83dx")", "t\xef\xbf\xbdx."},
        {R"("\ude00\ud83d\n")", "t\xef\xbf\xbd\xef\xbf\xbd\n."},
        {R"("\ud83d\ud83d\ude00")", "t\xef\xbf\xbd\xf0\x9f\x98\x80."},
        {R"("\ud83d\u0041")",
         "t\xef\xbf\xbd"
         "A."},
        {" 0 ", "s0;"},
        {"12", "s12"},
    };
    for (const Case& c : cases)
        for (std::size_t step = 1; step <= c.text.size(); ++step)
            EXPECT_EQ(tokens_of(c.text, step), c.tokens) << c.text << " in steps of " << step;
}

TEST(JsonScanner, RefusesWhatIsNotJson) {
    const std::string_view cases[] = {
        "",
        " ",
        "{",
        "[",
        "[1",
        "[1,",
        "[1,]",
        "[,1]",
        "{\"a\"}",
        "{\"a\":}",
        "{\"a\":1,}",
        "{,}",
        "{1:2}",
        "[1}",
        "{\"a\":1]",
        "]",
        "01",
        "-",
        "-a",
        "1.",
        ".5",
        "1e",
        "1e+",
        "+1",
        "0x10",
        "1.e1",
        "--1",
        "tru",
        "truth",
        "nul",
        "nulll",
        "TRUE",
        "NaN",
        "\"a",
        "\"\\x\"",
        "\"\\u12\"",
        "\"\\u12g4\"",
        "\"\n\"",
        "\"\t\"",
        "'a'",
        "{} {}",
        "[] x",
        "1 2",
        "\"a\" \"b\"",
        "\xef\xbb\xbf{}",
        "\"\x80\"",
        "\"\xc0\x80\"",
        "\"\xc3\"",
        "\"\xe0\x80\x80\"",
        "\"\xed\xa0\x80\"",
        "\"\xf4\x90\x80\x80\"",
        "\"\xf8\x88\x80\x80\x80\"",
        "\"\xe2\x82",
        "[\"\xe2\x82\"]",
    };
    for (const std::string_view text : cases)
        for (std::size_t step = 1; step <= std::max<std::size_t>(text.size(), 1); ++step)
            EXPECT_TRUE(tokens_of(text, step).ends_with("BAD")) << text << " in steps of " << step;
    EXPECT_FALSE(accepts(std::string_view("\"\0\"", 3)));
}

TEST(JsonScanner, DepthIsBounded) {
    const auto nested = [](std::size_t depth) {
        return std::string(depth, '[') + std::string(depth, ']');
    };
    EXPECT_TRUE(accepts(nested(kScanDepthMax)));
    EXPECT_FALSE(accepts(nested(kScanDepthMax + 1)));
}

TEST(JsonScanner, JsonTestSuite) {
    const fs::path suite = fs::path(HEARTH_SOURCE_DIR) / "../shared/suites/json/JSONTestSuite";
    if (!fs::exists(suite)) GTEST_SKIP() << suite << " is not beside the repository";
    int read = 0;
    for (const auto& entry : fs::directory_iterator(suite)) {
        const std::string name = entry.path().filename().string();
        if (entry.path().extension() != ".json" || (name[0] != 'n' && name[0] != 'y')) continue;
        std::stringstream bytes;
        bytes << std::ifstream(entry.path(), std::ios::binary).rdbuf();
        const std::string text = bytes.str();
        ++read;
        EXPECT_EQ(accepts(text), name[0] == 'y') << name;
        if (text.size() < 1000) {
            EXPECT_EQ(tokens_of(text, 1), tokens_of(text, text.size() + 1)) << name;
        }
    }
    EXPECT_GT(read, 250);
}

}  // namespace
}  // namespace hearth
