// BodyScan: which field wins, which requests are one chat, and that cuts and escapes change
// nothing.
#include "router/session/body_scan.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <random>
#include <sstream>

#include "common/base/rng.h"

namespace hearth {
namespace {

namespace fs = std::filesystem;

struct Outcome {
    bool ok = false;
    KeySource source = KeySource::kAnchor;
    std::string value;  // Of the key, or the error.
    std::string param;
    bool operator==(const Outcome&) const = default;
};

Outcome scan(std::string_view body, bool user_counts = false, std::size_t step = SIZE_MAX) {
    BodyScan scan(user_counts);
    auto progress = BodyScan::Progress::kMore;
    std::size_t at = 0;
    while (at < body.size() && progress == BodyScan::Progress::kMore) {
        // A copy in memory of its own, so that a sanitizer sees a view kept too long.
        const std::string piece(body.substr(at, step));
        progress = scan.feed(piece);
        at += piece.size();
    }
    if (progress == BodyScan::Progress::kMore) progress = scan.finish();
    if (progress == BodyScan::Progress::kFound)
        return {true, scan.key().source, scan.key().value, {}};
    EXPECT_EQ(progress, BodyScan::Progress::kBad);
    EXPECT_FALSE(scan.error().empty());
    return {false, KeySource::kAnchor, scan.error(), std::string(scan.error_param())};
}

std::string anchor_of(std::string_view body) {
    const Outcome outcome = scan(body);
    EXPECT_TRUE(outcome.ok) << body << ": " << outcome.value;
    EXPECT_EQ(outcome.source, KeySource::kAnchor) << body;
    EXPECT_EQ(outcome.value.size(), 32u);
    return outcome.value;
}

TEST(BodyScan, SourcesInOrder) {
    struct Case {
        std::string_view body;
        KeySource source;
        std::string_view value;
    };
    const Case cases[] = {
        {R"({"prompt_cache_key":"a"})", KeySource::kPromptCacheKey, "a"},
        {R"({"session_id":"b","metadata":{"session_id":"c"},"prompt_cache_key":"a"})",
         KeySource::kPromptCacheKey, "a"},
        {R"({"prompt_cache_key":"","session_id":"b"})", KeySource::kSessionId, "b"},
        {R"({"prompt_cache_key":null,"session_id":"b"})", KeySource::kSessionId, "b"},
        {R"({"prompt_cache_key":{"session_id":"x"},"session_id":"b"})", KeySource::kSessionId, "b"},
        {R"({"session_id":12})", KeySource::kSessionId, "12"},
        {R"({"conversation":"d","session_id":"b"})", KeySource::kConversation, "d"},
        {R"({"conversation":{"x":1,"id":"d"},"session_id":"b"})", KeySource::kConversation, "d"},
        {R"({"conversation":"d","previous_response_id":"r"})", KeySource::kConversation, "r"},
        {R"({"metadata":{"a":{"session_id":"no"},"session_id":"c"}})", KeySource::kMetadata, "c"},
        {R"({"messages":[{"role":"user","session_id":"no"}],"session_id":"b"})",
         KeySource::kSessionId, "b"},
        {R"({"session_id":"b","session_id":"later"})", KeySource::kSessionId, "b"},
        {R"({"session\u005fid":"\u0062"})", KeySource::kSessionId, "b"},
    };
    for (const Case& c : cases) {
        const Outcome outcome = scan(c.body);
        EXPECT_TRUE(outcome.ok) << c.body << ": " << outcome.value;
        EXPECT_EQ(outcome.source, c.source) << c.body;
        EXPECT_EQ(outcome.value, c.value) << c.body;
    }
}

TEST(BodyScan, UserCountsOnlyWhenAsked) {
    const std::string_view body = R"({"user":"u","messages":[]})";
    EXPECT_EQ(scan(body, true), (Outcome{true, KeySource::kUser, "u", ""}));
    EXPECT_EQ(scan(body, false).source, KeySource::kAnchor);
    EXPECT_EQ(scan(R"({"safety_identifier":"s"})", true).value, "s");
    EXPECT_EQ(scan(R"({"user":"u","session_id":"b"})", true).value, "b");
}

TEST(BodyScan, StopsAtPromptCacheKey) {
    BodyScan scan(false);
    EXPECT_EQ(scan.feed(R"({"model":"m","prompt_cache_key":"k")"), BodyScan::Progress::kFound);
    EXPECT_EQ(scan.feed("nonsense"), BodyScan::Progress::kFound);
    EXPECT_EQ(scan.key().value, "k");
}

TEST(BodyScan, TooLongKeyNamesItsField) {
    const std::string longest(kRawKeyBytesMax, 'k');
    EXPECT_EQ(scan("{\"session_id\":\"" + longest + "\"}").value, longest);
    for (const char* field : {"prompt_cache_key", "session_id", "conversation"}) {
        const Outcome outcome = scan("{\"" + std::string(field) + "\":\"" + longest + "k\"}");
        EXPECT_FALSE(outcome.ok);
        EXPECT_EQ(outcome.param, field);
    }
    EXPECT_TRUE(scan("{\"user\":\"" + longest + "k\"}").ok) << "not a source, so not refused";
}

// A chat request of model "m" with these messages, and other members before them.
std::string chat(std::string_view messages, std::string_view members = "") {
    return "{\"model\":\"m\"," + std::string(members) + "\"messages\":[" + std::string(messages) +
           "]}";
}
std::string message(std::string_view role, std::string_view content) {
    return R"({"role":")" + std::string(role) + R"(","content":)" + std::string(content) + "}";
}

TEST(BodyScan, TurnsOfOneChatShareAnAnchor) {
    const std::string system = message("system", R"("be kind")");
    const std::string user = message("user", R"("hi é")");
    const std::string first = anchor_of(chat(system + "," + user));
    const std::string same[] = {
        // A later turn, sampling and streaming changed.
        chat(system + "," + user + "," + message("assistant", R"("hello")") + "," +
                 message("user", R"("and now?")"),
             R"("temperature":1,"stream":true,)"),
        // Other order of members, white space, other escapes.
        R"({ "messages" : [{"content":"be \u006bind","role":"system"},)"
        R"({"name":"x","content":"hi \u00E9","role":"user"}],"model":"m"})",
        // Content as parts, a cache marker that moves.
        chat(message("system",
                     R"([{"type":"text","text":"be "},)"
                     R"({"text":"kind","cache_control":{"type":"ephemeral"},"type":"text"}])") +
             "," + message("user", R"(["hi é"])")),
        // `developer` is the newer name of the system role.
        chat(message("developer", R"("be kind")") + "," + user),
        // What is no text of a known field is left to the node.
        chat("null,7,\"x\"," + system + "," + message("tool", R"("t")") + "," + user,
             R"("user":"u","metadata":{"a":"b"},)"),
    };
    for (const std::string& body : same) EXPECT_EQ(anchor_of(body), first) << body;
}

TEST(BodyScan, DifferentChatsDiffer) {
    const auto image = [](std::string_view url) {
        return message(
            "user", R"([{"type":"image_url","image_url":{"url":")" + std::string(url) + R"("}}])");
    };
    const std::string a = message("user", R"("a")");
    const std::string bodies[] = {
        R"({})",
        R"({"model":"m"})",
        R"({"model":"n"})",
        chat(a),
        chat(message("user", R"("b")")),
        chat(message("system", R"("a")")),
        chat(message("system", R"("a")") + "," + message("system", R"("b")")),
        chat(message("system", R"("ab")")),
        chat(message("system", R"("a")") + "," + message("user", R"("b")")),
        chat(a, R"("tools":[1],)"),
        chat(a, R"("tools":["1"],)"),
        chat(a, R"("tools":["1",""],)"),
        chat(a, R"("tools":{"a":"b"},)"),
        chat(a, R"("tools":{"ab":""},)"),
        chat(image("x")),
        chat(image("y")),
        R"({"model":"m","prompt":"a"})",
        R"({"model":"m","prompt":["a"]})",
        R"({"model":"m","prompt":"b"})",
    };
    std::map<std::string, std::string> seen;
    for (const std::string& body : bodies) {
        const auto [place, fresh] = seen.emplace(anchor_of(body), body);
        EXPECT_TRUE(fresh) << body << " and " << place->second;
    }
    EXPECT_EQ(anchor_of(chat("")), anchor_of(R"({"model":"m"})")) << "no messages is no messages";
}

// /v1/responses: a text is the first user's message, instructions are a system message.
TEST(BodyScan, InputsAreDialoguesToo) {
    const std::string text = anchor_of(R"({"model":"m","input":"hi","instructions":"be kind"})");
    EXPECT_EQ(anchor_of(R"({"instructions":"be kind","input":"hi","model":"m","stream":true})"),
              text);
    EXPECT_EQ(anchor_of(R"({"model":"m","instructions":"be kind","input":[
        {"role":"user","content":[{"type":"input_text","text":"hi"}]},
        {"type":"message","role":"assistant","content":"yes"},{"role":"user","content":"so"}]})"),
              text);
    EXPECT_EQ(anchor_of(R"({"model":"m","messages":[{"role":"system","content":"be kind"},
        {"role":"user","content":"hi"}]})"),
              text);
    for (const char* other :
         {R"({"model":"m","input":"ho","instructions":"be kind"})",
          R"({"model":"m","input":"hi","instructions":"be good"})", R"({"model":"m","input":"hi"})",
          R"({"model":"m","input":"be kind","instructions":"hi"})"})
        EXPECT_NE(anchor_of(other), text) << other;
}

TEST(BodyScan, RefusesWhatIsNoObject) {
    for (const std::string_view body :
         {"", " ", "[]", "1", "\"a\"", "null", "true", "{", "{}x", "{}{}", "[{}]", "{\"a\":1,}",
          "{\"messages\":[}", "{\"a\":\"\xff\"}", "not json"})
        EXPECT_FALSE(scan(body).ok) << body;
    EXPECT_NE(scan("[1]").value.find("object"), std::string::npos);
    EXPECT_NE(scan("{\"a\":nope}").value.find("byte 7"), std::string::npos)
        << scan("{\"a\":nope}").value;
}

TEST(BodyScan, JsonTestSuite) {
    const fs::path suite = fs::path(HEARTH_SOURCE_DIR) / "../shared/suites/json/JSONTestSuite";
    if (!fs::exists(suite)) GTEST_SKIP() << suite << " is not beside the repository";
    for (const auto& entry : fs::directory_iterator(suite)) {
        const std::string name = entry.path().filename().string();
        if (entry.path().extension() != ".json") continue;
        std::stringstream bytes;
        bytes << std::ifstream(entry.path(), std::ios::binary).rdbuf();
        const std::size_t first = bytes.str().find_first_not_of(" \t\r\n");
        const bool object = first != std::string::npos && bytes.str()[first] == '{';
        const Outcome outcome = scan(bytes.str());
        if (name[0] != 'i') {
            EXPECT_EQ(outcome.ok, name[0] == 'y' && object) << name;
        }
    }
}

const std::string_view kRich =
    R"({"model":"mé","tools":[{"a":[1,2.5e-3,true,null,"\ud83d\ude00"]}],"metadata":{"k":"v"},)"
    R"("messages":[{"role":"system","content":[{"type":"text","text":"p\u0041\n"}]},)"
    R"({"content":"hi \ud83d there é","role":"user"},{"role":"assistant","content":null}],"n":1})";

TEST(BodyScan, CutsChangeNothing) {
    const Outcome whole = scan(kRich);
    ASSERT_TRUE(whole.ok) << whole.value;
    for (std::size_t step = 1; step <= 7; ++step) EXPECT_EQ(scan(kRich, false, step), whole);
    for (std::size_t cut = 1; cut < kRich.size(); ++cut) {
        BodyScan scan(false);
        ASSERT_EQ(scan.feed(std::string(kRich.substr(0, cut))), BodyScan::Progress::kMore);
        ASSERT_EQ(scan.feed(std::string(kRich.substr(cut))), BodyScan::Progress::kMore);
        ASSERT_EQ(scan.finish(), BodyScan::Progress::kFound);
        EXPECT_EQ(scan.key().value, whole.value) << "cut at " << cut;
    }
    for (std::size_t cut = 0; cut < kRich.size(); ++cut)
        EXPECT_FALSE(scan(kRich.substr(0, cut)).ok) << "half a body of " << cut << " bytes";
}

TEST(BodyScan, RandomMutationsKeepWholeAndPiecesEqual) {
    const std::uint64_t seed = std::random_device{}();
    SCOPED_TRACE("seed " + std::to_string(seed));
    Rng rng(seed);
    const std::string_view alphabet = "{}[]\",:\\ntfu0123eE+-. \x80\xe2\xf0\x01";
    for (int round = 0; round < 20'000; ++round) {
        std::string body(kRich);
        const std::uint64_t edits = 1 + rng.below(4);
        for (std::uint64_t e = 0; e < edits && !body.empty(); ++e) {
            const std::size_t at = rng.below(body.size());
            switch (rng.below(4)) {
                case 0: body[at] = static_cast<char>(rng.below(256)); break;
                case 1: body.insert(at, 1, alphabet[rng.below(alphabet.size())]); break;
                case 2: body.erase(at, 1 + rng.below(8)); break;
                default: body += body.substr(at, rng.below(40)); break;
            }
        }
        Outcome whole = scan(body, true);
        Outcome pieces = scan(body, true, 1 + rng.below(16));
        // A text at the root is two faults if it is not UTF-8 either; either may be found first.
        if (!whole.ok) whole.value.clear();
        if (!pieces.ok) pieces.value.clear();
        ASSERT_EQ(pieces, whole) << body;
    }
}

}  // namespace
}  // namespace hearth
