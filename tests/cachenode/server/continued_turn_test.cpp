// A stream that one node began and another goes on with: the same bytes, from any event on.
#include "cachenode/api/continued_turn.h"

#include <gtest/gtest.h>

#include "tests/cachenode/server/node_world.h"

namespace hearth {
namespace {

using testing::NodeWorld;

constexpr const char* kChat = "/v1/chat/completions";
constexpr const char* kCompletions = "/v1/completions";

std::string header_of(const HttpClient::Answer& answer, const std::string& name) {
    for (const auto& [key, value] : answer.headers)
        if (key == name) return value;
    return "";
}

// One event of a continuable stream, or a group of them: the router's note, and what the client
// sees.
struct Event {
    std::string note, shown;
};

std::size_t end_of_events(const std::string& stream, std::size_t at, std::size_t count) {
    for (; count > 0; --count) at = stream.find("\n\n", at) + 2;
    return at;
}

std::vector<Event> events_of(const std::string& stream) {
    std::vector<Event> events;
    for (std::size_t at = 0; at < stream.size();) {
        std::size_t count = 1;
        if (stream.compare(at, 7, ":group ") == 0) {
            count = std::stoul(stream.substr(at + 7));
            EXPECT_GT(count, 1u);
            at = stream.find('\n', at) + 1;
        }
        const std::size_t end = end_of_events(stream, at, count);
        std::string text = stream.substr(at, end - at);
        Event event;
        if (text.starts_with(':')) {
            const std::size_t line = text.find('\n');
            event.note = text.substr(1, line - 1);
            text.erase(0, line + 1);
        }
        event.shown = std::move(text);
        events.push_back(std::move(event));
        at = end;
    }
    return events;
}

// Without the count of cached tokens, which is the heir's own.
std::string shown_from(const std::vector<Event>& events, std::size_t first) {
    std::string out;
    for (std::size_t i = first; i < events.size(); ++i) out += events[i].shown;
    const std::string_view name = "\"cached_tokens\":";
    if (const std::size_t at = out.find(name); at != std::string::npos)
        out.erase(at, out.find('}', at) - at);
    return out;
}

int count_of(const std::string& text, std::string_view part) {
    int count = 0;
    for (std::size_t at = 0; (at = text.find(part, at)) != std::string::npos; ++at) ++count;
    return count;
}

HttpClient::Answer go_on(NodeWorld& heir, const std::string& path, const std::string& body,
                         const std::string& turn, const std::string& forced) {
    const HeaderList headers{{"hearth-continue", turn},
                             {"hearth-forced-bytes", std::to_string(forced.size())}};
    return heir.post(path, forced + body, headers);
}

std::string body_of(const std::string& more) {
    return testing::chat_body({{"system", "You are a bard."}, {"user", "Sing of the sea."}},
                              R"("stream":true,)" + more);
}

// Each event of the stream is where the first node may have died.
void expect_same_from_anywhere(const std::string& path, const std::string& body,
                               const NodeConfig& config = {}, std::string* shown = nullptr) {
    NodeWorld first(config), heir(config);
    const HeaderList asked{{"hearth-continuable", "2"},
                           {"hearth-session", "0123456789abcdef0123456789abcdef"}};
    const auto whole = first.post(path, body, asked);
    ASSERT_EQ(whole.status, 200) << whole.body;
    if (shown != nullptr) *shown = whole.body;
    const std::string turn = header_of(whole, "hearth-turn");
    ASSERT_FALSE(turn.empty());
    const std::vector<Event> events = events_of(whole.body);
    ASSERT_GE(events.size(), 3u) << whole.body;
    std::string forced;
    int continued = 0;
    for (std::size_t next = 0; next < events.size() && events[next].note != "end"; ++next) {
        forced += events[next].note;
        const auto rest = go_on(heir, path, body, turn, forced);
        ASSERT_EQ(rest.status, 200) << rest.body;
        EXPECT_EQ(header_of(rest, "hearth-turn"), turn);
        EXPECT_EQ(shown_from(events_of(rest.body), 0), shown_from(events, next + 1))
            << body << " behind event " << next;
        ++continued;
    }
    EXPECT_GE(continued, 2) << whole.body;
}

TEST(ContinuedTurn, AnHeirSendsTheSameBytesFromAnyEventOn) {
    const std::string common = R"("max_tokens":24,"ignore_eos":true,)";
    for (const char* more :
         {R"("temperature":0)", R"("temperature":1.0,"seed":4)", R"("temperature":0.9)",
          R"("temperature":1.0,"seed":5,"frequency_penalty":1.0,"presence_penalty":0.5)",
          R"("temperature":0.8,"seed":6,"repetition_penalty":1.3,"top_k":30)",
          R"("temperature":1.0,"seed":7,"logprobs":true,"top_logprobs":2)",
          R"("temperature":1.0,"seed":8,"stream_options":{"include_usage":true})"})
        expect_same_from_anywhere(kChat, body_of(common + more));
}

TEST(ContinuedTurn, StopsAndEndsOfTextAreMetAgain) {
    // Seeds whose replies end in different ways: a stop string, min_tokens, the end of turn.
    for (int seed = 1; seed <= 6; ++seed)
        expect_same_from_anywhere(
            kChat, body_of(R"("max_tokens":60,"min_tokens":5,"temperature":1.0,"stop":["e","ab"],)"
                           R"("stream_options":{"include_usage":true},"seed":)" +
                           std::to_string(seed)));
}

TEST(ContinuedTurn, CompletionsToo) {
    expect_same_from_anywhere(
        kCompletions, R"({"model":"tiny","prompt":"Once upon","stream":true,"max_tokens":20,)"
                      R"("ignore_eos":true,"temperature":1.0,"seed":3,"logprobs":1})");
}

// The heir's grammar has read what was delivered.
TEST(ContinuedTurn, BoundRepliesToo) {
    const std::string schema =
        R"({"type":"json_schema","json_schema":{"name":"s","schema":{"type":"object","properties":
           {"a":{"type":"integer"},"b":{"type":"boolean"},"c":{"enum":["red","green"]}},
           "required":["a","b","c"]}}})";
    for (int seed = 1; seed <= 3; ++seed) {
        const std::string common = R"("max_tokens":80,"temperature":1.0,"seed":)" +
                                   std::to_string(seed) + R"(,"response_format":)";
        expect_same_from_anywhere(kChat, body_of(common + schema));
        expect_same_from_anywhere(kChat, body_of(common + R"({"type":"json_object"})"));
    }
}

const std::string kTools =
    R"("tools":[{"type":"function","function":{"name":"lamp","parameters":{"type":"object",)"
    R"("properties":{"on":{"type":"boolean"},"colour":{"enum":["red","green"]}},)"
    R"("required":["on","colour"]}}}],)";

// A call comes in one event when it is whole: what led to it is with the heir, not the client.
TEST(ContinuedTurn, CallsToo) {
    for (const char* family : {"qwen", "llama3", "mistral"}) {
        NodeConfig config;
        config.chat_template = family;
        for (int seed = 1; seed <= 3; ++seed) {
            const std::string common =
                R"("max_tokens":120,"temperature":1.0,"logprobs":true,"seed":)" +
                std::to_string(seed) + ",";
            std::string shown;
            expect_same_from_anywhere(
                kChat, body_of(kTools + common + R"("tool_choice":"required")"), config, &shown);
            EXPECT_EQ(count_of(shown, "\"tool_calls\":["), 1) << shown;
            expect_same_from_anywhere(kChat, body_of(kTools + common + R"("ignore_eos":true)"),
                                      config);
        }
    }
}

std::string response_of(const std::string& more) {
    return R"({"model":"tiny","input":"Sing of the sea.","stream":true,)" + more + "}";
}

// Numbers, places and the whole at the end are as the first node would have sent them.
TEST(ContinuedTurn, ResponsesToo) {
    for (int seed = 1; seed <= 3; ++seed) {
        const std::string common = R"("temperature":1.0,"seed":)" + std::to_string(seed);
        std::string shown;
        expect_same_from_anywhere(
            "/v1/responses", response_of(R"("max_output_tokens":24,"ignore_eos":true,)" + common),
            {}, &shown);
        EXPECT_EQ(count_of(shown, "event: response.incomplete"), 1) << shown;
        NodeConfig config;
        config.chat_template = "qwen";
        const std::string lamp =
            R"("max_output_tokens":120,"tools":[{"type":"function","name":"lamp","parameters":
               {"type":"object","properties":{"on":{"type":"boolean"}},"required":["on"]}}],)";
        expect_same_from_anywhere("/v1/responses",
                                  response_of(lamp + R"("tool_choice":"required",)" + common),
                                  config, &shown);
        EXPECT_EQ(count_of(shown, "event: response.function_call_arguments.done"), 1) << shown;
    }
}

// What the heir has ended is kept there as if it had been begun there too.
TEST(ContinuedTurn, AResponseIsKeptByTheHeir) {
    NodeWorld first, heir;
    const std::string body = response_of(R"("max_output_tokens":24,"temperature":0)");
    const auto whole = first.post("/v1/responses", body, {{"hearth-continuable", "2"}});
    const std::string turn = header_of(whole, "hearth-turn");
    const std::vector<Event> events = events_of(whole.body);
    ASSERT_GE(events.size(), 4u);
    const auto rest = go_on(heir, "/v1/responses", body, turn, events[1].note + events[2].note);
    ASSERT_EQ(rest.status, 200) << rest.body;
    const std::string id = turn.substr(0, turn.find(';'));
    const auto kept = heir.get("/v1/responses/" + id);
    EXPECT_EQ(kept.status, 200);
    EXPECT_NE(
        whole.body.find("\"output\":" + kept.body.substr(kept.body.find("[{\"id\":\"msg_"), 40)),
        std::string::npos)
        << kept.body;
}

// A slow reader's events were merged: the router knows the number of the last.
TEST(ContinuedTurn, NumbersGoOnBehindTheLastThatWasSent) {
    NodeWorld world;
    const std::string body = response_of(R"("max_output_tokens":24,"temperature":0)");
    const auto whole = world.post("/v1/responses", body, {{"hearth-continuable", "2"}});
    const std::string turn = header_of(whole, "hearth-turn");
    const std::string forced = events_of(whole.body).at(1).note;
    for (const auto& [last, status] : {std::pair{"41", 200}, {"x", 400}, {"-2", 400}}) {
        const auto rest = world.post("/v1/responses", forced + body,
                                     {{"hearth-continue", turn},
                                      {"hearth-forced-bytes", std::to_string(forced.size())},
                                      {"hearth-last-event", last}});
        ASSERT_EQ(rest.status, status) << rest.body;
        if (status != 200) continue;
        const std::size_t at = rest.body.find("\"sequence_number\":");
        EXPECT_EQ(rest.body.substr(at, 20), "\"sequence_number\":42") << rest.body;
    }
}

TEST(ContinuedTurn, WhatCannotBeContinuedIsNotOffered) {
    NodeConfig config;
    config.chat_template = "qwen";
    NodeWorld world(config);
    struct Case {
        std::string path, body;
        const char* known;
        bool offered;
    };
    const std::string few = R"("max_tokens":4,"temperature":0)";
    for (const Case& c :
         {Case{kChat, body_of(kTools + few), "2", true},
          Case{kChat, body_of(kTools + few), "1", false},
          Case{kChat, body_of(few + R"(,"n":2)"), "2", false}, Case{kChat, body_of(few), "1", true},
          Case{"/v1/responses", response_of(R"("max_output_tokens":4)"), "2", true},
          Case{"/v1/responses", response_of(R"("max_output_tokens":4)"), "1", false},
          Case{"/v1/responses", response_of(R"("max_output_tokens":4,"top_logprobs":2)"), "2",
               false}}) {
        const auto answer = world.post(c.path, c.body, {{"hearth-continuable", c.known}});
        ASSERT_EQ(answer.status, 200) << answer.body;
        EXPECT_EQ(!header_of(answer, "hearth-turn").empty(), c.offered) << c.body << c.known;
    }
}

TEST(ContinuedTurn, NotesAreOnlyForThoseWhoAsk) {
    NodeWorld world;
    const std::string body = body_of(R"("max_tokens":5,"temperature":0)");
    const auto answer = world.post(kChat, body);
    EXPECT_EQ(header_of(answer, "hearth-turn"), "");
    for (const Event& event : events_of(answer.body)) EXPECT_EQ(event.note, "");
}

TEST(ContinuedTurn, WhatCannotBeContinuedIsRefused) {
    NodeWorld world;
    const std::string body = body_of(R"("max_tokens":5,"temperature":0)");
    const auto answer = world.post(kChat, body, {{"hearth-continuable", "1"}});
    const std::string turn = header_of(answer, "hearth-turn");
    const auto known = continued_turn_from(turn);
    ASSERT_TRUE(known.has_value()) << turn;
    ContinuedTurn other_weights = *known, other_prompt = *known, too_short = *known;
    other_weights.fingerprint = "fp_other";
    other_prompt.prompt_tokens += 1;
    too_short.max_tokens = 1;
    struct Case {
        std::string turn, forced;
        int status;
    };
    for (const Case& c :
         {Case{to_text(other_weights), " 65", 409}, Case{to_text(other_prompt), " 65", 409},
          Case{to_text(too_short), " 65 66", 409}, Case{"a;b", " 65", 409},
          Case{turn, " 65 x", 409}, Case{turn, "65", 409}, Case{turn, " -65", 409},
          Case{turn, " 99999999", 400}}) {
        const auto refused = go_on(world, kChat, body, c.turn, c.forced);
        EXPECT_EQ(refused.status, c.status) << c.turn << c.forced << refused.body;
    }
    const std::string whole = testing::chat_body({{"user", "Hi"}}, R"("max_tokens":5)");
    EXPECT_EQ(go_on(world, kChat, whole, turn, " 65").status, 409) << "not a stream";
    EXPECT_EQ(go_on(world, kChat, body, turn, " 65").status, 200);
}

TEST(ContinuedTurn, TextAndBack) {
    const ContinuedTurn turn{"chatcmpl-1", 12, ~std::uint64_t{0}, 7, 9, "fp_1"};
    const auto read = continued_turn_from(to_text(turn));
    ASSERT_TRUE(read.has_value());
    EXPECT_EQ(read->id, turn.id);
    EXPECT_EQ(read->created, turn.created);
    EXPECT_EQ(read->seed, turn.seed);
    EXPECT_EQ(read->max_tokens, turn.max_tokens);
    EXPECT_EQ(read->prompt_tokens, turn.prompt_tokens);
    EXPECT_EQ(read->fingerprint, turn.fingerprint);
    for (const char* bad :
         {"", "a", "a;1;2;3;4", "a;1;2;3;4;f;g", "a;1;2;0;4;f", "a;x;2;3;4;f", "a;1;-2;3;4;f"})
        EXPECT_FALSE(continued_turn_from(bad).has_value()) << bad;
    std::string ids;
    append_tokens(ids, {1, 20, 300});
    EXPECT_EQ(ids, " 1 20 300");
    EXPECT_EQ(tokens_from(ids), (std::vector<engine::TokenId>{1, 20, 300}));
    EXPECT_EQ(tokens_from(""), std::vector<engine::TokenId>{});
}

}  // namespace
}  // namespace hearth
