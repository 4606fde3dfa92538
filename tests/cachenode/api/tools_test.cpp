// Tools of requests by table, and replies read for calls, however their text is cut.
#include "cachenode/api/tools.h"

#include <gtest/gtest.h>
#include <boost/json/parse.hpp>
#include <cstdio>
#include <random>

#include "cachenode/api/call_reader.h"
#include "cachenode/api/chat_request.h"
#include "common/base/rng.h"
#include "engine/text/json_state.h"

namespace hearth {
namespace {

namespace json = boost::json;
using engine::ToolFormat;

std::string chat(const std::string& more, const std::string& messages = "") {
    return R"({"model":"m","messages":[{"role":"user","content":"hi"})" + messages + "]," + more +
           "}";
}

const std::string kTools =
    R"("tools":[{"type":"function","function":{"name":"f","description":"d","strict":true,
       "parameters":{"type":"object","properties":{"a":{"type":"integer"}},"required":["a"]}}},
      {"type":"function","function":{"name":"g"}}])";
const std::string kCall =
    R"(,{"role":"assistant","content":null,"tool_calls":[{"id":"c1","type":"function",
        "function":{"name":"f","arguments":"{\"a\": 1}"}}]})";

TEST(Tools, AreRead) {
    ChatRequest request;
    ASSERT_FALSE(parse_chat_request(
        chat(kTools + R"(,"tool_choice":{"type":"function","function":{"name":"g"}})",
             kCall + R"(,{"role":"tool","tool_call_id":"c1","content":"7"})"),
        100, request));
    EXPECT_EQ(request.tools.names, (std::vector<std::string>{"f", "g"}));
    EXPECT_EQ(request.tools.choice, ToolOptions::Choice::kNamed);
    EXPECT_EQ(request.tools.named, "g");
    ASSERT_EQ(request.messages[1].calls.size(), 1u);
    EXPECT_EQ(request.messages[1].calls[0].name, "f");
    EXPECT_EQ(request.messages[1].calls[0].arguments, "{\"a\": 1}");
    EXPECT_EQ(request.messages[2].role, engine::Role::kTool);
    EXPECT_EQ(
        spaced_json(request.tools.functions[0], 0),
        R"({"type": "function", "function": {"name": "f", "description": "d", "parameters": )"
        R"({"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}}})");
    EXPECT_EQ(spaced_json(json::parse(R"({"a":[1,{}],"b":"\n"})"), 4),
              "{\n    \"a\": [\n        1,\n        {}\n    ],\n    \"b\": \"\\n\"\n}");
}

TEST(Tools, AreRefusedByName) {
    const std::vector<std::pair<std::string, std::string>> cases = {
        {chat(R"("tools":{})"), "tools"},
        {chat(R"("tools":[1])"), "tools[0]"},
        {chat(R"("tools":[{}])"), "tools[0].type"},
        {chat(R"("tools":[{"type":"web_search"}])"), "tools[0].type"},
        {chat(R"("tools":[{"type":"function"}])"), "tools[0].function"},
        {chat(R"("tools":[{"type":"function","function":{}}])"), "tools[0].function.name"},
        {chat(R"("tools":[{"type":"function","function":{"name":"a b"}}])"),
         "tools[0].function.name"},
        {chat(R"("tools":[{"type":"function","function":{"name":"f","parameters":[]}}])"),
         "tools[0].function.parameters"},
        {chat(kTools + R"(,"tool_choice":"maybe")"), "tool_choice"},
        {chat(kTools + R"(,"tool_choice":{"type":"function","function":{"name":"h"}})"),
         "tool_choice.function.name"},
        {chat(R"("tool_choice":"required")"), "tool_choice"},
        {chat(kTools + R"(,"parallel_tool_calls":1)"), "parallel_tool_calls"},
        {chat(R"("n":1)", R"(,{"role":"tool","content":"x"})"), "messages[1].tool_call_id"},
        {chat(R"("n":1)", R"(,{"role":"tool","tool_call_id":"c9","content":"x"})"),
         "messages[1].tool_call_id"},
        {chat(R"("n":1)", R"(,{"role":"user","content":"x","tool_calls":[{}]})"),
         "messages[1].tool_calls"},
        {chat(R"("n":1)", R"(,{"role":"assistant","tool_calls":[{"id":"c"}]})"),
         "messages[1].tool_calls[0].type"},
        {chat(R"("n":1)", R"(,{"role":"assistant","tool_calls":[{"id":"c","type":"function",
              "function":{"name":"f"}}]})"),
         "messages[1].tool_calls[0].function.arguments"},
    };
    for (const auto& [body, param] : cases) {
        ChatRequest request;
        const auto error = parse_chat_request(body, 100, request);
        ASSERT_TRUE(error) << body;
        EXPECT_EQ(error->param, param) << error->message;
        EXPECT_EQ(error->status, 400);
    }
}

TEST(Tools, OfAFamilyWithout) {
    ChatRequest request;
    ASSERT_FALSE(parse_chat_request(chat(kTools), 100, request));
    EXPECT_EQ(check_tools(request.tools, request.messages, ToolFormat::kNone)->param, "tools");
    EXPECT_FALSE(check_tools(request.tools, request.messages, ToolFormat::kLlama3));
    ASSERT_FALSE(parse_chat_request(chat(R"("n":1)", kCall), 100, request = {}));
    EXPECT_EQ(check_tools(request.tools, request.messages, ToolFormat::kNone)->param,
              "messages[1].tool_calls");
}

TEST(Tools, AForcedCallIsOneOfTheFunctions) {
    ChatRequest request;
    ASSERT_FALSE(parse_chat_request(chat(kTools + R"(,"tool_choice":"required")"), 100, request));
    const auto takes = [&](ToolFormat format, std::string_view text) {
        engine::JsonGrammar grammar;
        EXPECT_FALSE(call_grammar(request.tools, format, grammar));
        engine::JsonState state(grammar);
        return state.push_all(text) && state.is_done();
    };
    const std::string tagged =
        "<tool_call>\n{\"name\": \"f\", \"arguments\": {\"a\": 7}}\n</tool_call>";
    EXPECT_TRUE(takes(ToolFormat::kTagged, tagged));
    EXPECT_TRUE(takes(ToolFormat::kLlama3, "{\"name\": \"g\", \"parameters\": {}}"));
    EXPECT_FALSE(takes(ToolFormat::kLlama3, "{\"name\": \"f\", \"parameters\": {}}"));
    EXPECT_TRUE(takes(ToolFormat::kMistral, "[{\"name\": \"g\", \"arguments\": {}}]"));
    EXPECT_TRUE(takes(ToolFormat::kMistral, " [{\"name\": \"g\", \"arguments\": {}}]"));
    request.tools.choice = ToolOptions::Choice::kNamed;
    request.tools.named = "g";
    EXPECT_FALSE(takes(ToolFormat::kTagged, tagged));
    request.tools.functions[1].at("function").as_object()["parameters"] =
        json::parse(R"({"type":"object","properties":{"x":{"pattern":"a"}}})");
    engine::JsonGrammar grammar;
    const auto error = call_grammar(request.tools, ToolFormat::kTagged, grammar);
    ASSERT_TRUE(error);
    EXPECT_EQ(error->param, "tools[1].function.parameters.properties.x.pattern");
}

struct Said {
    ToolFormat format;
    std::string reply, text;
    std::vector<std::pair<std::string, std::string>> calls;
};

const std::vector<Said> kSaid = {
    {ToolFormat::kTagged, "Hello <tool> there.", "Hello <tool> there.", {}},
    {ToolFormat::kTagged,
     "One moment.\n\n<tool_call>\n{\"name\": \"f\", \"arguments\": {\"a\":  1}}\n</tool_call>",
     "One moment.",
     {{"f", "{\"a\":  1}"}}},
    {ToolFormat::kTagged,
     "<tool_call>{\"arguments\": {\"name\": \"}</x>\"}, \"name\": \"f\"}</tool_call>\n"
     "<tool_call>{\"name\": \"g\", \"arguments\": {}}</tool_call>\n",
     "",
     {{"f", "{\"name\": \"}</x>\"}"}, {"g", "{}"}}},
    {ToolFormat::kTagged, "<tool_call>no</tool_call> x ", "<tool_call>no</tool_call> x ", {}},
    {ToolFormat::kTagged, " <tool_call>{\"name\": \"f\"", " <tool_call>{\"name\": \"f\"", {}},
    {ToolFormat::kLlama3,
     " {\"name\": \"f\", \"parameters\": {\"b\": [1]}}",
     "",
     {{"f", "{\"b\": [1]}"}}},
    {ToolFormat::kLlama3,
     "{\"name\": \"f\", \"parameters\": {}}; {\"name\": \"g\", \"parameters\": {}}",
     "",
     {{"f", "{}"}, {"g", "{}"}}},
    {ToolFormat::kLlama3, "{\"answer\": 42}", "{\"answer\": 42}", {}},
    {ToolFormat::kLlama3,
     "Say {\"name\": \"f\", \"parameters\": {}}",
     "Say {\"name\": \"f\", \"parameters\": {}}",
     {}},
    {ToolFormat::kMistral,
     " [{\"name\": \"f\", \"arguments\": {\"a\": \"\xc3\xa9\"}}]",
     "",
     {{"f", "{\"a\": \"\xc3\xa9\"}"}}},
    {ToolFormat::kMistral, "[1] is a source", "[1] is a source", {}},
};

// Beside a format the model chooses between a value of that format and one call.
TEST(Tools, ACallOrAReplyOfTheFormat) {
    ChatRequest request;
    ASSERT_FALSE(parse_chat_request(
        chat(kTools + R"(,"response_format":{"type":"json_schema","json_schema":{"name":"n",
             "schema":{"type":"object","properties":{"a":{"type":"boolean"}},"required":["a"]}}})"),
        100, request));
    ASSERT_TRUE(request.options.grammar);
    const auto bound = *request.options.grammar;
    const auto takes = [](const engine::JsonGrammar& grammar, std::string_view text) {
        engine::JsonState state(grammar);
        return state.push_all(text) && state.is_done();
    };
    auto grammar = request.options.grammar;
    ASSERT_FALSE(bind_calls(request.tools, ToolFormat::kTagged, "p", grammar));
    const std::string name = request.tools.names.front();
    const std::string call =
        "<tool_call>\n{\"name\": \"" + name + "\", \"arguments\": {\"x\":[1]}}\n</tool_call>";
    EXPECT_TRUE(takes(*grammar, R"({"a":true})"));
    EXPECT_TRUE(takes(*grammar, call));
    EXPECT_FALSE(takes(*grammar, R"({"b":true})"));
    EXPECT_FALSE(takes(*grammar, "Hello"));
    EXPECT_FALSE(takes(*grammar, "<tool_call>\n{\"name\": \"other\", \"arguments\": {}}"));
    EXPECT_FALSE(takes(bound, call));
    // Where both begin with the same byte, or with a mark that is no text.
    for (const ToolFormat format : {ToolFormat::kLlama3, ToolFormat::kMistral}) {
        grammar = bound;
        const auto error = bind_calls(request.tools, format, "text.format", grammar);
        ASSERT_TRUE(error);
        EXPECT_EQ(error->param, "text.format");
        EXPECT_EQ(error->code, "unsupported_value");
    }
    grammar = bound;
    grammar->set_root(engine::JsonGrammar::kFreeObject);
    EXPECT_FALSE(bind_calls(request.tools, ToolFormat::kLlama3, "p", grammar));
    EXPECT_TRUE(takes(*grammar, R"({"name": "f", "parameters": {}})"));
    // No calls, or one that must come: the format alone, or the call alone.
    request.tools.choice = ToolOptions::Choice::kNone;
    grammar = bound;
    EXPECT_FALSE(bind_calls(request.tools, ToolFormat::kMistral, "p", grammar));
    EXPECT_TRUE(takes(*grammar, R"({"a":true})"));
    request.tools.choice = ToolOptions::Choice::kRequired;
    EXPECT_FALSE(bind_calls(request.tools, ToolFormat::kTagged, "p", grammar));
    EXPECT_FALSE(takes(*grammar, R"({"a":true})"));
}

TEST(Tools, ABoundReplyIsACallOnlyFromItsFirstByteOn) {
    const std::string call = R"(<tool_call>{"name": "f", "arguments": {}}</tool_call>)";
    const std::string quoted =
        R"({"a":"<tool_call>{\"name\": \"f\", \"arguments\": {}}</tool_call>"})";
    const std::string value = R"(["<tool_call>[{}]</tool_call>)" + call + "\"]";
    for (const std::string& reply : {call, quoted, value}) {
        CallReader reader(ToolFormat::kTagged, true, true);
        std::string text;
        std::size_t calls = 0;
        for (const char c : reply) {
            const CallReader::Piece piece = reader.add(std::string(1, c));
            text += piece.text;
            calls += piece.calls.size();
        }
        const CallReader::Piece rest = reader.finish();
        EXPECT_EQ(text + rest.text, reply == call ? "" : reply);
        EXPECT_EQ(calls + rest.calls.size(), reply == call ? 1u : 0u);
    }
}

TEST(Tools, RepliesAreReadHoweverTheyAreCut) {
    const std::uint64_t seed = std::random_device{}();
    std::printf("seed %llu\n", static_cast<unsigned long long>(seed));
    Rng rng(seed);
    for (const Said& said : kSaid) {
        for (int round = 0; round < 50; ++round) {
            CallReader reader(said.format, true);
            std::string text;
            std::vector<std::pair<std::string, std::string>> calls;
            const auto take = [&](CallReader::Piece piece) {
                text += piece.text;
                for (const auto& call : piece.calls) calls.emplace_back(call.name, call.arguments);
            };
            for (std::size_t at = 0; at < said.reply.size();) {
                const std::size_t size = round == 0 ? said.reply.size() : 1 + rng.next() % 9;
                take(reader.add(std::string_view(said.reply).substr(at, size)));
                at += size;
            }
            take(reader.finish());
            EXPECT_EQ(text, said.text) << said.reply;
            EXPECT_EQ(calls, said.calls) << said.reply;
        }
    }
    CallReader first(ToolFormat::kTagged, false);
    auto piece = first.add(kSaid[2].reply);
    EXPECT_EQ(piece.calls.size() + first.finish().calls.size(), 1u);
}

}  // namespace
}  // namespace hearth
