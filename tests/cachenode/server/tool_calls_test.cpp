// Tool calls over HTTP on a tiny model, in each family: forced, streamed, answered, and their KV.
#include <gtest/gtest.h>
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>

#include "tests/cachenode/server/node_world.h"

namespace hearth {
namespace {

namespace json = boost::json;
using testing::NodeWorld;

constexpr const char* kChat = "/v1/chat/completions";
const HeaderList kSession = {{"hearth-session", "0123456789abcdef0123456789abcdef"}};

const json::value& tools() {
    static const json::value list = json::parse(R"([
        {"type":"function","function":{"name":"lamp","description":"Sets the lamp.",
         "parameters":{"type":"object","properties":{"on":{"type":"boolean"},
          "colour":{"enum":["red","green"]}},"required":["on"],"additionalProperties":false}}},
        {"type":"function","function":{"name":"bell"}}])");
    return list;
}

json::object body_of(const json::array& messages, json::object more) {
    json::object body{{"model", "tiny"},
                      {"messages", messages},
                      {"temperature", 0},
                      {"max_tokens", 200},
                      {"tools", tools()}};
    for (auto& [key, value] : more) body[key] = value;
    return body;
}

json::value post(NodeWorld& world, const json::object& body) {
    const auto answer = world.post(kChat, json::serialize(body), kSession);
    EXPECT_EQ(answer.status, 200) << answer.body;
    return json::parse(answer.body);
}

std::int64_t cached_of(const json::value& answer) {
    return answer.at("usage").at("prompt_tokens_details").at("cached_tokens").as_int64();
}

class ToolCalls : public ::testing::TestWithParam<const char*> {};

TEST_P(ToolCalls, AForcedCallIsMadeStreamedAndFoundAgain) {
    NodeConfig config;
    config.chat_template = GetParam();
    NodeWorld world(config);
    json::array messages = {json::object{{"role", "system"}, {"content", "You keep a lighthouse."}},
                            json::object{{"role", "user"}, {"content", "It gets dark."}}};
    const json::object named{{"type", "function"}, {"function", {{"name", "lamp"}}}};
    const json::value first = post(world, body_of(messages, {{"tool_choice", named}}));
    const json::value& choice = first.at("choices").at(0);
    EXPECT_EQ(choice.at("finish_reason"), json::value("tool_calls"));
    const json::value& message = choice.at("message");
    EXPECT_TRUE(message.at("content").is_null());
    ASSERT_EQ(message.at("tool_calls").as_array().size(), 1u);
    const json::value& call = message.at("tool_calls").at(0);
    EXPECT_EQ(call.at("type"), json::value("function"));
    EXPECT_EQ(call.at("function").at("name"), json::value("lamp"));
    const json::string& text = call.at("function").at("arguments").as_string();
    const json::value arguments = json::parse({text.data(), text.size()});
    EXPECT_TRUE(arguments.at("on").is_bool());
    EXPECT_LE(arguments.as_object().size(), 2u);

    // Streamed, it is the same call.
    const auto streamed = world.post(
        kChat, json::serialize(body_of(messages, {{"tool_choice", named}, {"stream", true}})),
        {{"hearth-continuable", "1"}});
    for (const auto& [field, value] : streamed.headers) EXPECT_NE(field, "hearth-turn") << value;
    std::string name, streamed_arguments, finish, content;
    for (const std::string& data : testing::sse_data(streamed.body)) {
        if (data == "[DONE]") continue;
        const json::value event = json::parse(data);
        const json::value& part = event.at("choices").at(0);
        const json::object& delta = part.at("delta").as_object();
        if (delta.contains("content")) content += std::string(delta.at("content").as_string());
        if (part.at("finish_reason").is_string()) finish = part.at("finish_reason").as_string();
        if (!delta.contains("tool_calls")) continue;
        const json::value& entry = delta.at("tool_calls").at(0);
        EXPECT_EQ(entry.at("index"), json::value(0));
        EXPECT_TRUE(entry.at("id").as_string().starts_with("call_"));
        name += std::string(entry.at("function").at("name").as_string());
        streamed_arguments += std::string(entry.at("function").at("arguments").as_string());
    }
    EXPECT_EQ(finish, "tool_calls");
    EXPECT_EQ(content, "");
    EXPECT_EQ(name, "lamp");
    EXPECT_EQ(streamed_arguments, std::string(text));

    // What the next prompt repeats of it is all found.
    ASSERT_TRUE(world.run_until([&] {
        return world.metric("hearth_cache_tier_blocks{state=\"active\",tier=\"device\"}") == 0;
    }));
    messages.push_back(message);
    messages.push_back(
        json::object{{"role", "tool"}, {"tool_call_id", call.at("id")}, {"content", "It shines."}});
    const json::value second = post(world, body_of(messages, {{"max_tokens", 8}}));
    const std::int64_t before = first.at("usage").at("prompt_tokens").as_int64();
    EXPECT_GT(cached_of(second), before + 20);
    const std::string model = "{model=\"tiny\"}";
    EXPECT_EQ(world.metric("hearth_engine_reused_tokens_total" + model),
              world.metric("hearth_engine_reusable_tokens_total" + model));
    EXPECT_LE(second.at("usage").at("prompt_tokens").as_int64() - cached_of(second), 110);
}

TEST_P(ToolCalls, RequiredCallsOneOfThem) {
    NodeConfig config;
    config.chat_template = GetParam();
    NodeWorld world(config);
    const json::array messages = {json::object{{"role", "user"}, {"content", "Do something."}}};
    int bells = 0;
    for (int seed = 0; seed < 8; ++seed) {
        const json::value answer = post(
            world,
            body_of(messages, {{"tool_choice", "required"}, {"temperature", 2}, {"seed", seed}}));
        const json::value& choice = answer.at("choices").at(0);
        ASSERT_EQ(choice.at("finish_reason"), json::value("tool_calls"));
        const json::value& call = choice.at("message").at("tool_calls").at(0);
        const bool is_bell = call.at("function").at("name") == json::value("bell");
        bells += is_bell;
        EXPECT_EQ(call.at("function").at("arguments").as_string().front(), '{');
    }
    EXPECT_LT(bells, 8);
    const json::value none =
        post(world, body_of(messages, {{"tool_choice", "none"}, {"max_tokens", 12}}));
    EXPECT_FALSE(none.at("choices").at(0).at("message").as_object().contains("tool_calls"));
    const json::value text = post(world, body_of(messages, {{"max_tokens", 12}}));
    EXPECT_EQ(text.at("choices").at(0).at("finish_reason"), json::value("length"));
}

// A reply beside tools is a value of the format or a call, whichever the model prefers.
TEST_P(ToolCalls, BesideAFormat) {
    NodeConfig config;
    config.chat_template = GetParam();
    NodeWorld world(config);
    const bool is_tagged = std::string(GetParam()) == "qwen";
    const json::array messages = {json::object{{"role", "user"}, {"content", "Do something."}}};
    const json::value format = json::parse(R"({"type":"json_schema","json_schema":{"name":"n",
        "schema":{"type":"object","properties":{"a":{"type":"boolean"}},"required":["a"]}}})");
    int texts = 0, calls = 0;
    for (int seed = 0; seed < 12; ++seed) {
        const json::object body = body_of(
            messages,
            {{"response_format", format}, {"temperature", 2}, {"max_tokens", 300}, {"seed", seed}});
        if (!is_tagged) {
            const auto answer = world.post(kChat, json::serialize(body));
            ASSERT_EQ(answer.status, 400) << answer.body;
            EXPECT_EQ(json::parse(answer.body).at("error").at("param"),
                      json::value("response_format"));
            break;
        }
        const json::value answer = post(world, body);
        const json::value& choice = answer.at("choices").at(0);
        if (choice.at("finish_reason") == json::value("length")) continue;
        const json::object& message = choice.at("message").as_object();
        calls += message.contains("tool_calls");
        if (message.contains("tool_calls")) continue;
        ++texts;
        const json::string& text = message.at("content").as_string();
        EXPECT_TRUE(json::parse({text.data(), text.size()}).at("a").is_bool()) << text;
    }
    EXPECT_EQ(texts > 0, is_tagged);
    EXPECT_EQ(calls > 0, is_tagged);
    for (const auto& [choice, is_call] : {std::pair{"none", false}, {"required", true}}) {
        const json::value answer =
            post(world, body_of(messages, {{"response_format", format}, {"tool_choice", choice}}));
        const json::value& first = answer.at("choices").at(0);
        EXPECT_EQ(first.at("message").as_object().contains("tool_calls"), is_call);
        EXPECT_EQ(first.at("finish_reason"), json::value(is_call ? "tool_calls" : "stop"));
    }
    post(world, body_of(messages,
                        {{"response_format", {{"type", "json_object"}}}, {"tool_choice", "none"}}));
}

INSTANTIATE_TEST_SUITE_P(Families, ToolCalls, ::testing::Values("qwen", "llama3", "mistral"));

TEST(ToolCallsOfNone, ATemplateWithoutToolsSaysSo) {
    NodeWorld world;
    const json::array messages = {json::object{{"role", "user"}, {"content", "Hi."}}};
    const auto answer = world.post(kChat, json::serialize(body_of(messages, {})));
    EXPECT_EQ(answer.status, 400);
    EXPECT_EQ(json::parse(answer.body).at("error").at("param"), json::value("tools"));
}

}  // namespace
}  // namespace hearth
