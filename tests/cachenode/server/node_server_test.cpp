// NodeServer: real requests over loopback against a whole node with a tiny model.
#include <gtest/gtest.h>
#include <algorithm>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <set>
#include <sstream>

#include "cachenode/api/strict_json.h"
#include "tests/cachenode/server/node_world.h"

namespace hearth {
namespace {

namespace json = boost::json;
using testing::chat_body;
using testing::kLabel;
using testing::Line;
using testing::NodeWorld;
using testing::sse_data;

constexpr const char* kChat = "/v1/chat/completions";
constexpr const char* kCompletions = "/v1/completions";
const std::vector<Line> kHello = {{"system", "You are kind."},
                                  {"user", "Hello there, who are you?"}};
const HeaderList kSession = {{"hearth-session", "0123456789abcdef0123456789abcdef"}};
const std::string kGreedy = R"("temperature":0,"max_tokens":24)";

std::string text_of(const json::value& answer) {
    return std::string(answer.at("choices").at(0).at("message").at("content").as_string());
}

std::int64_t usage_of(const json::value& answer, const char* field) {
    return answer.at("usage").at(field).to_number<std::int64_t>();
}

std::int64_t cached_of(const json::value& answer) {
    return answer.at("usage")
        .at("prompt_tokens_details")
        .at("cached_tokens")
        .to_number<std::int64_t>();
}

std::string header_of(const HttpClient::Answer& answer, std::string_view name) {
    for (const auto& [key, value] : answer.headers)
        if (equals_ignore_case(key, name)) return value;
    return {};
}

std::vector<engine::ChatMessage> native(const std::vector<Line>& lines) {
    std::vector<engine::ChatMessage> out;
    for (const Line& line : lines) {
        const auto role = line.role == "system"      ? engine::Role::kSystem
                          : line.role == "assistant" ? engine::Role::kAssistant
                                                     : engine::Role::kUser;
        out.push_back({role, line.text});
    }
    return out;
}

TEST(NodeServer, AnswersAWholeChat) {
    NodeWorld world;
    const auto answer = world.post(kChat, chat_body(kHello, kGreedy), {{"x-request-id", "abc-1"}});
    ASSERT_EQ(answer.status, 200) << answer.body;
    EXPECT_EQ(header_of(answer, "content-type"), "application/json");
    EXPECT_EQ(header_of(answer, "hearth-node"), "node-1");
    EXPECT_EQ(header_of(answer, "x-request-id"), "abc-1");
    EXPECT_EQ(header_of(answer, "hearth-request-id"), "abc-1");
    const auto body = json::parse(answer.body);
    EXPECT_TRUE(body.at("id").as_string().starts_with("chatcmpl-"));
    EXPECT_EQ(body.at("model"), json::value("tiny"));
    const auto prompt = world.prompts().render(native(kHello));
    ASSERT_TRUE(prompt.ok());
    EXPECT_EQ(usage_of(body, "prompt_tokens"), static_cast<std::int64_t>(prompt->tokens.size()));
    EXPECT_EQ(cached_of(body), 0);
    EXPECT_GT(usage_of(body, "completion_tokens"), 0);
    EXPECT_LE(usage_of(body, "completion_tokens"), 24);
}

// The stream and the whole answer carry the same text, and the stream is OpenAI's, chunk by chunk.
TEST(NodeServer, StreamsTheSameText) {
    NodeWorld world;
    const auto whole = json::parse(world.post(kChat, chat_body(kHello, kGreedy)).body);
    const auto answer = world.post(
        kChat,
        chat_body(kHello, kGreedy + R"(,"stream":true,"stream_options":{"include_usage":true})"));
    ASSERT_EQ(answer.status, 200);
    EXPECT_EQ(header_of(answer, "content-type"), "text/event-stream");
    std::vector<std::string> events = sse_data(answer.body);
    ASSERT_GE(events.size(), 4u);
    EXPECT_EQ(events.back(), "[DONE]");
    events.pop_back();
    std::string text;
    std::vector<json::value> chunks;
    for (const std::string& event : events) chunks.push_back(json::parse(event));
    for (const json::value& chunk : chunks) {
        EXPECT_EQ(chunk.at("id"), chunks[0].at("id"));
        EXPECT_EQ(chunk.at("created"), chunks[0].at("created"));
        EXPECT_EQ(chunk.at("object"), json::value("chat.completion.chunk"));
        if (&chunk == &chunks.back()) continue;
        EXPECT_TRUE(chunk.at("usage").is_null());
        const auto& delta = chunk.at("choices").at(0).at("delta").as_object();
        if (const auto* piece = delta.if_contains("content")) text += piece->as_string();
    }
    EXPECT_EQ(chunks[0].at("choices").at(0).at("delta").at("role"), json::value("assistant"));
    EXPECT_EQ(text, text_of(whole));
    const json::value& last = chunks.back();
    EXPECT_TRUE(last.at("choices").as_array().empty());
    EXPECT_EQ(usage_of(last, "completion_tokens"), usage_of(whole, "completion_tokens"));
    EXPECT_EQ(cached_of(last), usage_of(last, "prompt_tokens") - 1);  // The same prompt again.
    const json::value& finish = chunks[chunks.size() - 2];
    EXPECT_EQ(finish.at("choices").at(0).at("finish_reason"),
              whole.at("choices").at(0).at("finish_reason"));
}

// Turn 2 finds exactly what turn 1 left: its prompt and its reply as the template renders it. The
// closing of the reply was never computed, so it is not reusable.
TEST(NodeServer, SecondTurnReusesTheWholeHistory) {
    NodeWorld world;
    const auto first = world.post(kChat, chat_body(kHello, kGreedy), kSession);
    ASSERT_EQ(first.status, 200) << first.body;
    std::vector<Line> lines = kHello;
    lines.push_back({"assistant", text_of(json::parse(first.body))});
    lines.push_back({"user", "And where do you live?"});
    const auto first_prompt = world.prompts().render(native(kHello));
    const auto prompt = world.prompts().render(native(lines));
    ASSERT_TRUE(first_prompt.ok() && prompt.ok());
    std::vector<engine::TokenId> closing;
    world.prompts().chat_template().render_reply("", closing);
    const std::int64_t left = prompt->history_tokens - static_cast<std::int64_t>(closing.size());
    EXPECT_GT(left, static_cast<std::int64_t>(first_prompt->tokens.size()));
    // The first turn's computed and canonical tokens together are what the second can reuse; the
    // canonical ones are computed while the node is idle.
    ASSERT_TRUE(world.run_until([&] {
        return world.metric("hearth_cache_tier_blocks{state=\"active\",tier=\"device\"}") == 0;
    }));
    const auto second = json::parse(world.post(kChat, chat_body(lines, kGreedy), kSession).body);
    EXPECT_EQ(usage_of(second, "prompt_tokens"), static_cast<std::int64_t>(prompt->tokens.size()));
    EXPECT_EQ(cached_of(second), left);
    EXPECT_EQ(world.metric(std::string("hearth_engine_reusable_tokens_total") + kLabel),
              static_cast<double>(left));
    EXPECT_EQ(world.metric(std::string("hearth_engine_reused_tokens_total") + kLabel),
              static_cast<double>(left));
    EXPECT_EQ(world.metric(std::string("hearth_engine_ceiling_tokens_total") + kLabel),
              static_cast<double>(left));
    EXPECT_EQ(world.metric("hearth_engine_turns_total{model=\"tiny\",outcome=\"full_hit\"}"), 1);
    EXPECT_EQ(world.metric("hearth_engine_turns_total{model=\"tiny\",outcome=\"first_turn\"}"), 1);
}

TEST(NodeServer, CachePromptFalseNeitherReadsNorWrites) {
    NodeWorld world;
    const std::string off = chat_body(kHello, kGreedy + R"(,"cache_prompt":false)");
    const std::string on = chat_body(kHello, kGreedy);
    const auto first = json::parse(world.post(kChat, off).body);
    const auto second = json::parse(world.post(kChat, on).body);
    EXPECT_EQ(cached_of(second), 0);
    const auto third = json::parse(world.post(kChat, off).body);
    EXPECT_EQ(cached_of(third), 0);
    const auto fourth = json::parse(world.post(kChat, on).body);
    EXPECT_EQ(cached_of(fourth), usage_of(fourth, "prompt_tokens") - 1);
    for (const auto* answer : {&second, &third, &fourth})
        EXPECT_EQ(text_of(*answer), text_of(first));
}

TEST(NodeServer, SeededRepliesRepeatAndUnseededDiffer) {
    NodeWorld world;
    const auto text = [&](const std::string& more) {
        return text_of(json::parse(world.post(kChat, chat_body(kHello, more)).body));
    };
    const std::string hot = R"("temperature":1.5,"max_tokens":40,"ignore_eos":true)";
    EXPECT_EQ(text(hot + R"(,"seed":5)"), text(hot + R"(,"seed":5)"));
    EXPECT_NE(text(hot + R"(,"seed":5)"), text(hot + R"(,"seed":6)"));
    EXPECT_NE(text(hot), text(hot));
}

TEST(NodeServer, ThirtyTwoAtOnceGiveWhatEachGivesAlone) {
    NodeWorld world;
    std::vector<std::string> bodies, alone;
    for (int i = 0; i < 32; ++i) {
        const std::string words(static_cast<std::size_t>(i) * 7 % 90,
                                'a' + static_cast<char>(i % 26));
        bodies.push_back(chat_body({{"user", "Chat " + std::to_string(i) + " " + words}},
                                   R"("seed":3,"max_tokens":20,"cache_prompt":false)"));
        alone.push_back(text_of(json::parse(world.post(kChat, bodies.back()).body)));
    }
    const auto answers = world.post_all(kChat, bodies);
    for (std::size_t i = 0; i < bodies.size(); ++i) {
        ASSERT_EQ(answers[i].status, 200) << answers[i].body;
        EXPECT_EQ(text_of(json::parse(answers[i].body)), alone[i]) << "chat " << i;
    }
    EXPECT_EQ(world.metric(std::string("hearth_engine_requests_running") + kLabel), 0);
    EXPECT_EQ(world.metric(std::string("hearth_engine_time_to_first_token_seconds_count") +
                           "{cache=\"cold\",model=\"tiny\"}"),
              64);
}

class NodeServerLeaving : public ::testing::TestWithParam<bool> {};

TEST_P(NodeServerLeaving, AClientThatGoesFreesItsSlotAndPages) {
    const bool stream = GetParam();
    NodeWorld world;
    const std::string more = std::string(R"("max_tokens":3000,"ignore_eos":true,"stream":)") +
                             (stream ? "true" : "false");
    world.post_and_leave(kChat, chat_body(kHello, more), stream ? 300 : 0);
    ASSERT_TRUE(world.wait_for_metric(
        "hearth_engine_requests_finished_total{model=\"tiny\",reason=\"abort\"}", 1));
    EXPECT_EQ(world.metric(std::string("hearth_engine_requests_running") + kLabel), 0);
    EXPECT_EQ(world.metric("hearth_cache_tier_blocks{state=\"active\",tier=\"device\"}"), 0);
    EXPECT_LT(world.metric(std::string("hearth_engine_generation_tokens_total") + kLabel), 3000);
    EXPECT_EQ(world.post(kChat, chat_body(kHello, kGreedy)).status, 200);
}

INSTANTIATE_TEST_SUITE_P(Both, NodeServerLeaving, ::testing::Bool());

TEST(NodeServer, DeadlineGives408) {
    NodeWorld world;
    const std::string body = chat_body(kHello, R"("max_tokens":3000,"ignore_eos":true)");
    for (const char* left : {"0", "5"}) {
        const auto answer = world.post(kChat, body, {{"hearth-deadline", left}});
        EXPECT_EQ(answer.status, 408) << answer.body;
        EXPECT_EQ(json::parse(answer.body).at("error").at("code"), json::value("deadline"));
    }
    EXPECT_EQ(world.post(kChat, body, {{"hearth-deadline", "soon"}}).status, 400);
}

TEST(NodeServer, FullQueueGives429) {
    NodeConfig config;
    config.sequences_max = 1;
    config.queue_max = 1;
    NodeWorld world(config);
    const std::string body = chat_body(kHello, R"("max_tokens":200,"ignore_eos":true)");
    const auto answers = world.post_all(kChat, std::vector<std::string>(8, body));
    int refused = 0, served = 0;
    for (const auto& answer : answers) {
        served += answer.status == 200;
        if (answer.status != 429) continue;
        ++refused;
        EXPECT_EQ(json::parse(answer.body).at("error").at("code"), json::value("queue_full"));
        EXPECT_GE(std::stoi(header_of(answer, "retry-after")), 1);
    }
    EXPECT_EQ(refused + served, 8);
    EXPECT_GE(refused, 5);
    EXPECT_GE(served, 1);
}

TEST(NodeServer, Completions) {
    NodeWorld world;
    const std::string more = R"("model":"tiny","temperature":0,"max_tokens":8,)";
    const auto text = world.post(kCompletions, "{" + more + R"("prompt":"Once upon a time"})");
    ASSERT_EQ(text.status, 200) << text.body;
    const auto answer = json::parse(text.body);
    EXPECT_EQ(answer.at("object"), json::value("text_completion"));
    std::vector<engine::TokenId> ids;
    CompletionRequest request;
    request.text = "Once upon a time";
    const auto prompt = world.prompts().render(request);
    ASSERT_TRUE(prompt.ok());
    std::string list;
    for (const auto id : prompt->tokens) list += (list.empty() ? "" : ",") + std::to_string(id);
    const auto by_ids =
        json::parse(world.post(kCompletions, "{" + more + R"("prompt":[)" + list + "]}").body);
    EXPECT_EQ(by_ids.at("choices").at(0).at("text"), answer.at("choices").at(0).at("text"));
    const auto streamed =
        world.post(kCompletions, "{" + more + R"("stream":true,"prompt":"Once upon a time"})");
    std::string pieces;
    for (const std::string& event : sse_data(streamed.body))
        if (event != "[DONE]")
            pieces += json::parse(event).at("choices").at(0).at("text").as_string();
    EXPECT_EQ(json::value(pieces), answer.at("choices").at(0).at("text"));
}

TEST(NodeServer, LogprobsSpellTheText) {
    NodeWorld world;
    const auto answer = json::parse(
        world.post(kChat, chat_body(kHello, kGreedy + R"(,"logprobs":true,"top_logprobs":2)"))
            .body);
    const auto& choice = answer.at("choices").at(0);
    std::string bytes;
    for (const auto& token : choice.at("logprobs").at("content").as_array()) {
        for (const auto& byte : token.at("bytes").as_array())
            bytes += static_cast<char>(byte.to_number<int>());
        ASSERT_EQ(token.at("top_logprobs").as_array().size(), 2u);
        EXPECT_EQ(token.at("top_logprobs").at(0).at("bytes"), token.at("bytes"));  // Greedy.
        EXPECT_LE(token.at("logprob").to_number<double>(), 0.0);
    }
    EXPECT_FALSE(bytes.empty());
    EXPECT_EQ(to_valid_utf8(bytes), text_of(answer));
}

TEST(NodeServer, ModelsHealthAndTokenize) {
    NodeWorld world;
    EXPECT_EQ(world.get("/health").status, 200);
    EXPECT_EQ(world.get("/ready").status, 200);
    const auto models = json::parse(world.get("/v1/models").body);
    EXPECT_EQ(models.at("data").at(0).at("id"), json::value("tiny"));
    EXPECT_EQ(json::parse(world.get("/v1/models/tiny").body).at("object"), json::value("model"));
    EXPECT_EQ(json::parse(world.get("/v1/models/t%69ny").body).at("object"), json::value("model"));
    const auto missing = world.get("/v1/models/other");
    EXPECT_EQ(missing.status, 404);
    EXPECT_EQ(json::parse(missing.body).at("error").at("code"), json::value("model_not_found"));
    const auto tokens = json::parse(world.post("/tokenize", chat_body(kHello, "")).body);
    const auto prompt = world.prompts().render(native(kHello));
    EXPECT_EQ(tokens.at("count").to_number<std::size_t>(), prompt->tokens.size());
    EXPECT_EQ(tokens.at("tokens").as_array().size(), prompt->tokens.size());
    EXPECT_EQ(world.post("/tokenize", "{}").status, 400);
    const auto large = json::parse(
        world.post("/tokenize", R"({"model":"tiny","prompt":")" + std::string(99'999, 'x') + "\"}")
            .body);
    EXPECT_EQ(large.at("error").at("param"), json::value("prompt"));
}

TEST(NodeServer, TellsHowItReadsAPrompt) {
    NodeWorld world;
    const auto tokens = json::parse(world.post("/tokenize", chat_body(kHello, "")).body);
    const auto text = json::parse(world.post("/apply-template", chat_body(kHello, "")).body);
    const std::string prompt(text.at("prompt").as_string());
    for (const Line& line : kHello) EXPECT_NE(prompt.find(line.text), std::string::npos) << prompt;
    const std::string ids = json::serialize(tokens.at("tokens"));
    const auto back = json::parse(world.post("/detokenize", "{\"tokens\":" + ids + "}").body);
    EXPECT_EQ(back.at("prompt").as_string(), text.at("prompt").as_string());
    for (const char* bad : {"{}", R"({"tokens":1})", R"({"tokens":[-1]})", R"({"tokens":["a"]})"}) {
        const auto refused = world.post("/detokenize", bad);
        EXPECT_EQ(refused.status, 400) << bad;
        EXPECT_NE(refused.body.find("\"param\":\"tokens"), std::string::npos) << refused.body;
    }
    EXPECT_EQ(world.post("/version", "{}").status, 405);
    EXPECT_TRUE(json::parse(world.get("/version").body).as_object().contains("revision"));
    const auto props = json::parse(world.get("/props").body);
    EXPECT_EQ(props.at("model"), json::value("tiny"));
    EXPECT_EQ(props.at("kv_page_tokens"), json::value(64));
}

TEST(NodeServer, SeveralRepliesShareThePrompt) {
    NodeWorld world;
    const std::vector<Line> chat = {{"user", "Tell me a long story of " + std::string(300, 'x')}};
    const std::string sampled = R"("temperature":1,"seed":5,"max_tokens":12)";
    const auto one = json::parse(world.post(kChat, chat_body(chat, sampled)).body);
    const auto three =
        json::parse(world.post(kChat, chat_body(chat, sampled + R"(,"n":3,"logprobs":true)")).body);
    const auto& choices = three.at("choices").as_array();
    ASSERT_EQ(choices.size(), 3u);
    EXPECT_EQ(text_of(three), text_of(one)) << "the first is what n = 1 gives";
    std::set<std::string> texts;
    for (std::size_t i = 0; i < 3; ++i) {
        EXPECT_EQ(choices[i].at("index"), json::value(i));
        texts.insert(std::string(choices[i].at("message").at("content").as_string()));
        EXPECT_EQ(choices[i].at("logprobs").at("content").as_array().size(), 12u);
    }
    EXPECT_EQ(texts.size(), 3u);
    EXPECT_EQ(usage_of(three, "prompt_tokens"), usage_of(one, "prompt_tokens"));
    EXPECT_EQ(usage_of(three, "completion_tokens"), 36);
    // Streamed: the same texts by index, one usage, one end.
    const auto stream =
        world.post(kChat, chat_body(chat, sampled + R"(,"n":3,"stream":true,"stream_options":)"
                                                    R"({"include_usage":true})"));
    std::map<std::int64_t, std::string> streamed;
    std::size_t finishes = 0, ends = 0, usages = 0;
    std::istringstream lines(stream.body);
    for (std::string line; std::getline(lines, line);) {
        ends += line == "data: [DONE]";
        if (line.rfind("data: {", 0) != 0) continue;
        const auto chunk = json::parse(line.substr(6));
        usages += chunk.at("usage").is_object();
        for (const auto& choice : chunk.at("choices").as_array()) {
            finishes += !choice.at("finish_reason").is_null();
            if (const auto* text = choice.at("delta").as_object().if_contains("content"))
                streamed[choice.at("index").as_int64()] += text->as_string();
        }
    }
    EXPECT_EQ(finishes, 3u);
    EXPECT_EQ(ends, 1u);
    EXPECT_EQ(usages, 1u);
    for (std::size_t i = 0; i < 3; ++i)
        EXPECT_EQ(streamed[static_cast<std::int64_t>(i)],
                  choices[i].at("message").at("content").as_string());
    // Their prompt was computed once: by the first turn of all, even.
    const std::string page = world.get("/metrics").body;
    const std::string name =
        "hearth_engine_prompt_tokens_total{model=\"tiny\",source=\"computed\"} ";
    const std::size_t at = page.find(name);
    ASSERT_NE(at, std::string::npos);
    EXPECT_LT(std::stol(page.substr(at + name.size())), 2 * usage_of(one, "prompt_tokens"));
}

TEST(NodeServer, NamesTheFieldsThatItIgnored) {
    NodeWorld world;
    const auto plain = world.post(kChat, chat_body(kHello, kGreedy));
    EXPECT_EQ(header_of(plain, "x-ignored-fields"), "");
    const auto odd = world.post(
        kChat, chat_body(kHello, kGreedy + R"(,"temprature":1,"a\r\nb: c":2,"user":"u")"));
    EXPECT_EQ(odd.status, 200);
    EXPECT_EQ(header_of(odd, "x-ignored-fields"), "temprature, ?");
}

TEST(NodeServer, TokenizeJudgesTheBodyByItsFieldsAndChecksTheModel) {
    NodeWorld world;
    // The word in a value, or in a nested key, makes no chat.
    for (const char* body : {R"({"model":"tiny","prompt":"say \"messages\""})",
                             R"({"model":"tiny","prompt":"x","user":"messages"})",
                             R"({"model":"tiny","prompt":"x","metadata":{"messages":"1"}})"})
        EXPECT_EQ(world.post("/tokenize", body).status, 200) << body;
    // Written another way it is the same key.
    const auto chat = world.post(
        "/tokenize", R"({"model":"tiny","m\u0065ssages":[{"role":"user","content":"x"}]})");
    EXPECT_EQ(chat.status, 200) << chat.body;
    for (const char* body : {R"({"model":"other","prompt":"x"})",
                             R"({"model":"other","messages":[{"role":"user","content":"x"}]})"}) {
        const auto refused = world.post("/tokenize", body);
        EXPECT_EQ(refused.status, 404) << body;
        EXPECT_EQ(json::parse(refused.body).at("error").at("code"), json::value("model_not_found"));
    }
}

// Marks around each message are tokens too: such a prompt is refused before it is rendered.
TEST(NodeServer, MoreMessagesThanTheContextHoldsAreRefusedUnread) {
    NodeWorld world;
    const auto prompt = world.prompts().render(std::vector<engine::ChatMessage>(4'096));
    ASSERT_FALSE(prompt.ok());
    EXPECT_EQ(prompt.error().code, ErrorCode::kTooLarge);
    EXPECT_NE(prompt.error().message.find("at least 4096"), std::string::npos)
        << prompt.error().message;
}

TEST(NodeServer, MetricsPageIsWhole) {
    NodeWorld world;
    for (const char* reason : {"rerouted", "evicted", "expired", "diverged", "salt", "capacity",
                               "node_lost", "corrupt", "declined"})
        EXPECT_EQ(
            world.metric(std::string("hearth_engine_missed_tokens_total{model=\"tiny\",reason=\"") +
                         reason + "\"}"),
            0)
            << reason;
    EXPECT_EQ(world.metric("hearth_node_state{state=\"ready\"}"), 1);
    EXPECT_EQ(world.metric("hearth_directory_up"), 0);
    EXPECT_EQ(world.metric("hearth_cache_tier_capacity_bytes{tier=\"device\"}"), 16 << 20);
}

struct BadCase {
    std::string path, body;
    int status;
    std::string code, param;
};

TEST(NodeServer, BadInputGetsAnErrorObject) {
    NodeConfig config;
    config.body_bytes_max = 64 << 10;
    NodeWorld world(config);
    const std::string padding(70'000, ' ');
    const std::string long_text(60'000, 'x');
    const std::vector<BadCase> table = {
        {kChat, "", 400, "invalid_json", ""},
        {kChat, "[]", 400, "invalid_type", ""},
        {kChat, chat_body(kHello, R"("temperature":9)"), 400, "invalid_value", "temperature"},
        {kChat, chat_body(kHello, R"("n":17)"), 400, "invalid_value", "n"},
        {kChat, chat_body(kHello, R"("tools":[{"type":"function","function":{"name":"f"}}])"), 400,
         "unsupported_parameter", "tools"},
        {kChat, R"({"model":"gpt","messages":[{"role":"user","content":"x"}]})", 404,
         "model_not_found", "model"},
        {kChat, padding, 413, "body_too_large", ""},
        {kChat, chat_body({{"user", long_text}}, ""), 400, "context_length_exceeded", "messages"},
        {kChat, chat_body(kHello, R"("max_tokens":5000)"), 400, "context_length_exceeded",
         "messages"},
        {kCompletions, R"({"model":"tiny","prompt":[999999]})", 400, "invalid_value", "prompt[0]"},
        {kCompletions, R"({"model":"tiny"})", 400, "missing_required_parameter", "prompt"},
        {"/v1/nothing", "{}", 404, "unknown_url", ""},
        {"/v1/models", "{}", 405, "method_not_allowed", ""},
    };
    for (const BadCase& bad : table) {
        const auto answer = world.post(bad.path, bad.body);
        EXPECT_EQ(answer.status, bad.status) << bad.body.substr(0, 200) << answer.body;
        json::error_code ec;
        const auto body = json::parse(answer.body, ec);
        ASSERT_FALSE(ec) << answer.body;
        EXPECT_EQ(body.at("error").at("code"), json::value(bad.code)) << answer.body;
        const json::value param = bad.param.empty() ? json::value() : json::value(bad.param);
        EXPECT_EQ(body.at("error").at("param"), param) << answer.body;
    }
    const auto wrong = world.get(kChat);
    EXPECT_EQ(wrong.status, 405);
    EXPECT_EQ(header_of(wrong, "allow"), "POST");
    EXPECT_EQ(world.get("/nowhere").status, 404);
    EXPECT_EQ(world.post(kChat, chat_body(kHello, kGreedy), {{"hearth-session", "xyz"}}).status,
              400);
    EXPECT_EQ(world.post(kChat, chat_body(kHello, kGreedy)).status, 200);
}

TEST(NodeServer, EveryBodyOfTheJsonSuiteGets4xx) {
    const std::filesystem::path folder =
        std::string(HEARTH_SOURCE_DIR) + "/../shared/suites/json/JSONTestSuite";
    if (!std::filesystem::exists(folder)) GTEST_SKIP() << "no JSON suite at " << folder;
    NodeWorld world;
    std::vector<std::string> bodies;
    for (const auto& entry : std::filesystem::directory_iterator(folder)) {
        std::ifstream in(entry.path(), std::ios::binary);
        bodies.emplace_back(std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>{});
    }
    ASSERT_GT(bodies.size(), 200u);
    for (const char* path : {kChat, kCompletions}) {
        for (const std::string& body : bodies) {
            const auto answer = world.post(path, body);
            EXPECT_EQ(answer.status, 400) << body.substr(0, 100);
            EXPECT_TRUE(json::parse(answer.body).as_object().contains("error"));
        }
    }
    EXPECT_EQ(world.get("/health").status, 200);
}

TEST(NodeServer, NaughtyStringsAreAnswered) {
    const std::filesystem::path file =
        std::string(HEARTH_SOURCE_DIR) + "/../shared/suites/json/blns.json";
    if (!std::filesystem::exists(file)) GTEST_SKIP() << "no naughty strings at " << file;
    NodeWorld world;
    std::ifstream in(file, std::ios::binary);
    const std::string text{std::istreambuf_iterator<char>(in), {}};
    std::vector<std::string> bodies, models;
    const json::value strings = json::parse(text);
    for (const auto& value : strings.as_array()) {
        bodies.push_back(
            chat_body({{"user", std::string(value.as_string())}}, R"("max_tokens":2)"));
        models.push_back(R"({"model":)" + json::serialize(value) +
                         R"(,"messages":[{"role":"user","content":"x"}]})");
    }
    for (const auto& answer : world.post_all(kChat, {bodies.begin(), bodies.begin() + 200}))
        EXPECT_EQ(answer.status, 200) << answer.body;
    for (std::size_t i = 200; i < bodies.size(); ++i)
        EXPECT_EQ(world.post(kChat, bodies[i]).status, 200) << bodies[i];
    for (const std::string& body : models) {
        const int status = world.post(kChat, body).status;
        EXPECT_TRUE(status == 404 || status == 400) << status << ": " << body;
    }
}

}  // namespace
}  // namespace hearth
