// /v1/responses over HTTP: whole and as events, chained by id, with tools, schemas and bad fields.
#include <gtest/gtest.h>
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <map>

#include "common/wire/response_id.h"
#include "tests/cachenode/server/node_world.h"

namespace hearth {
namespace {

namespace json = boost::json;
using testing::NodeWorld;

constexpr const char* kResponses = "/v1/responses";
const std::string kSession = "0123456789abcdef0123456789abcdef";

std::string body_of(json::object fields) {
    json::object body{{"model", "tiny"}, {"temperature", 0}, {"max_output_tokens", 12}};
    for (auto& [key, value] : fields) body[key] = value;
    return json::serialize(body);
}

json::value post(NodeWorld& world, json::object fields, const HeaderList& headers = {}) {
    const auto answer = world.post(kResponses, body_of(std::move(fields)), headers);
    EXPECT_EQ(answer.status, 200) << answer.body;
    return json::parse(answer.body);
}

std::string_view view_of(const json::string& text) {
    return {text.data(), text.size()};
}

std::string text_of(const json::value& response) {
    return std::string(response.at("output").at(0).at("content").at(0).at("text").as_string());
}

std::string id_of(const json::value& response) {
    return std::string(response.at("id").as_string());
}

// Events of a stream, whose names and numbers are checked on the way.
std::vector<json::value> events_of(std::string_view stream) {
    std::vector<json::value> out;
    while (!stream.empty()) {
        const std::size_t line = stream.find('\n'), end = stream.find("\n\n");
        EXPECT_NE(end, std::string_view::npos) << stream;
        if (end == std::string_view::npos) break;
        const std::string_view name = stream.substr(0, line);
        const std::string_view data = stream.substr(line + 1, end - line - 1);
        EXPECT_TRUE(name.starts_with("event: ") && data.starts_with("data: ")) << stream;
        out.push_back(json::parse({data.data() + 6, data.size() - 6}));
        EXPECT_EQ(out.back().at("type"), json::value(name.substr(7)));
        EXPECT_EQ(out.back().at("sequence_number"), json::value(out.size() - 1));
        stream.remove_prefix(end + 2);
    }
    return out;
}

TEST(ResponsesEndpoint, AreChatsInOtherWords) {
    NodeWorld world;
    const json::value first = post(world, {{"input", "Hello there."}, {"instructions", "Be kind."}},
                                   {{"hearth-session", kSession}});
    EXPECT_EQ(first.at("object"), json::value("response"));
    EXPECT_EQ(first.at("instructions"), json::value("Be kind."));
    EXPECT_EQ(session_of_response(id_of(first))->hex(), kSession);
    const json::value& item = first.at("output").at(0);
    EXPECT_EQ(item.at("type"), json::value("message"));
    EXPECT_EQ(item.at("role"), json::value("assistant"));
    const std::string finish(first.at("status").as_string());
    EXPECT_TRUE(finish == "completed" || finish == "incomplete");
    EXPECT_EQ(first.at("incomplete_details").is_null(), finish == "completed");

    // A chat of the same words has the same reply.
    const auto chat =
        world.post("/v1/chat/completions",
                   testing::chat_body({{"system", "Be kind."}, {"user", "Hello there."}},
                                      R"("temperature":0,"max_tokens":12)"));
    const json::value said = json::parse(chat.body);
    EXPECT_EQ(said.at("choices").at(0).at("message").at("content"), json::value(text_of(first)));
    EXPECT_EQ(said.at("usage").at("prompt_tokens"), first.at("usage").at("input_tokens"));

    // And so has its next turn, by the id alone or with the whole dialogue.
    const json::value second = post(world, {{"input", "And now?"},
                                            {"instructions", "Be kind."},
                                            {"previous_response_id", first.at("id")}});
    const json::value whole = post(
        world,
        {{"instructions", "Be kind."},
         {"store", false},
         {"input", json::array{json::object{{"role", "user"}, {"content", "Hello there."}}, item,
                               json::object{{"role", "user"}, {"content", "And now?"}}}}});
    EXPECT_EQ(text_of(second), text_of(whole));
    EXPECT_EQ(second.at("usage").at("input_tokens"), whole.at("usage").at("input_tokens"));
    EXPECT_GT(second.at("usage").at("input_tokens_details").at("cached_tokens").as_int64(),
              first.at("usage").at("input_tokens").as_int64());
    EXPECT_EQ(session_of_response(id_of(second)), session_of_response(id_of(first)));
    // Instructions are of one turn alone.
    const json::value bare =
        post(world, {{"input", "And now?"}, {"previous_response_id", first.at("id")}});
    EXPECT_LT(bare.at("usage").at("input_tokens").as_int64(),
              second.at("usage").at("input_tokens").as_int64());
}

TEST(ResponsesEndpoint, UnknownOnesAreNotFound) {
    NodeWorld world;
    const json::value kept = post(world, {{"input", "a"}}, {{"hearth-tenant", "aa"}});
    const json::value dropped = post(world, {{"input", "a"}, {"store", false}});
    struct Case {
        json::value id;
        HeaderList headers;
        int status;
    };
    const std::vector<Case> cases = {{kept.at("id"), {{"hearth-tenant", "aa"}}, 200},
                                     {kept.at("id"), {{"hearth-tenant", "bb"}}, 404},
                                     {kept.at("id"), {}, 404},
                                     {dropped.at("id"), {}, 404},
                                     {"resp_x", {}, 404}};
    for (const Case& one : cases) {
        const auto answer = world.post(
            kResponses, body_of({{"input", "b"}, {"previous_response_id", one.id}}), one.headers);
        ASSERT_EQ(answer.status, one.status) << answer.body;
        if (one.status == 200) continue;
        const json::value error = json::parse(answer.body).at("error");
        EXPECT_EQ(error.at("param"), json::value("previous_response_id"));
        EXPECT_EQ(error.at("code"), json::value("previous_response_not_found"));
    }
}

HttpClient::Answer ask(NodeWorld& world, const char* method, const json::value& id,
                       HeaderList headers = {}, const char* query = "") {
    const std::string target =
        std::string(kResponses) + "/" + std::string(view_of(id.as_string())) + query;
    auto answer = world.run(world.client().call(world.endpoint(), method, target,
                                                std::move(headers), "", std::chrono::seconds(5)));
    EXPECT_TRUE(answer.ok());
    return answer.ok() ? std::move(*answer) : HttpClient::Answer{};
}

TEST(ResponsesEndpoint, KeptOnesAreShownAndForgotten) {
    NodeWorld world;
    const HeaderList tenant{{"hearth-tenant", "aa"}};
    const json::object asked{{"input", "Hello there."}, {"metadata", {{"a", "b"}}}};
    const json::value whole = post(world, asked, tenant);
    json::object streamed = asked;
    streamed["stream"] = true;
    const auto events = events_of(world.post(kResponses, body_of(streamed), tenant).body);
    const json::value last = events.back().at("response");
    for (const json::value& kept : {whole, last}) {
        const json::value id = kept.at("id");
        const auto shown = ask(world, "GET", id, tenant);
        ASSERT_EQ(shown.status, 200) << shown.body;
        EXPECT_EQ(json::parse(shown.body), kept);
        EXPECT_EQ(ask(world, "HEAD", id, tenant).status, 200);
        EXPECT_EQ(ask(world, "GET", id, {}).status, 404);
        EXPECT_EQ(ask(world, "DELETE", id, {{"hearth-tenant", "bb"}}).status, 404);
        EXPECT_EQ(ask(world, "GET", id, tenant, "?stream=true").status, 400);
        EXPECT_EQ(ask(world, "POST", id, tenant).status, 405);
        const auto gone = ask(world, "DELETE", id, tenant);
        EXPECT_EQ(gone.status, 200);
        EXPECT_EQ(json::parse(gone.body),
                  json::value({{"id", id}, {"object", "response"}, {"deleted", true}}));
        const auto again = ask(world, "DELETE", id, tenant);
        EXPECT_EQ(again.status, 404);
        EXPECT_EQ(json::parse(again.body).at("error").at("code"),
                  json::value("response_not_found"));
        EXPECT_EQ(ask(world, "GET", id, tenant).status, 404);
        EXPECT_EQ(
            world.post(kResponses, body_of({{"input", "b"}, {"previous_response_id", id}}), tenant)
                .status,
            404);
    }
    EXPECT_EQ(ask(world, "GET", "a/b").status, 404);
    EXPECT_EQ(ask(world, "GET", "").status, 404);
}

TEST(ResponsesEndpoint, StreamedAsEventsThatBuildTheWhole) {
    NodeWorld world;
    const json::object asked{{"input", "Hello there."},
                             {"include", json::array{"message.output_text.logprobs"}},
                             {"top_logprobs", 2}};
    const json::value whole = post(world, asked);
    json::object streamed = asked;
    streamed["stream"] = true;
    const auto answer = world.post(kResponses, body_of(streamed));
    const auto events = events_of(answer.body);
    ASSERT_GT(events.size(), 6u);
    EXPECT_EQ(events[0].at("type"), json::value("response.created"));
    EXPECT_EQ(events[0].at("response").at("status"), json::value("in_progress"));
    EXPECT_EQ(events[1].at("type"), json::value("response.in_progress"));
    EXPECT_EQ(events[2].at("type"), json::value("response.output_item.added"));
    EXPECT_EQ(events[3].at("type"), json::value("response.content_part.added"));
    std::string text;
    std::map<std::string, int> counts;
    for (const json::value& event : events) {
        ++counts[std::string(event.at("type").as_string())];
        if (event.at("type") == json::value("response.output_text.delta"))
            text += std::string(event.at("delta").as_string());
    }
    EXPECT_EQ(text, text_of(whole));
    EXPECT_EQ(counts["response.output_text.done"], 1);
    EXPECT_EQ(counts["response.content_part.done"], 1);
    EXPECT_EQ(counts["response.output_item.done"], 1);
    const json::value& last = events.back().at("response");
    EXPECT_EQ(last.at("id"), events[0].at("response").at("id"));
    EXPECT_EQ(text_of(last), text);
    EXPECT_EQ(last.at("status"), whole.at("status"));
    EXPECT_EQ(last.at("output").at(0).at("content").at(0).at("logprobs"),
              whole.at("output").at(0).at("content").at(0).at("logprobs"));
    EXPECT_GT(last.at("output").at(0).at("content").at(0).at("logprobs").as_array().size(), 3u);
    // A streamed response is kept too.
    post(world, {{"input", "More."}, {"previous_response_id", last.at("id")}});
}

TEST(ResponsesEndpoint, CallFunctionsAndHearTheirResults) {
    NodeConfig config;
    config.chat_template = "qwen";
    NodeWorld world(config);
    const json::value tool = json::parse(R"({"type":"function","name":"lamp","strict":true,
        "parameters":{"type":"object","properties":{"on":{"type":"boolean"}},"required":["on"]}})");
    const json::object asked{{"input", "It gets dark."},
                             {"tools", json::array{tool}},
                             {"tool_choice", {{"type", "function"}, {"name", "lamp"}}},
                             {"max_output_tokens", 100}};
    const json::value first = post(world, asked);
    ASSERT_EQ(first.at("output").as_array().size(), 1u);
    const json::value& call = first.at("output").at(0);
    EXPECT_EQ(call.at("type"), json::value("function_call"));
    EXPECT_EQ(call.at("name"), json::value("lamp"));
    const json::string& arguments = call.at("arguments").as_string();
    EXPECT_TRUE(json::parse({arguments.data(), arguments.size()}).at("on").is_bool());
    EXPECT_EQ(first.at("status"), json::value("completed"));
    const json::object result{{"type", "function_call_output"},
                              {"call_id", call.at("call_id")},
                              {"output", "It shines."}};
    const json::value second = post(world, {{"input", json::array{result}},
                                            {"tools", json::array{tool}},
                                            {"previous_response_id", first.at("id")}});
    EXPECT_GT(second.at("usage").at("input_tokens_details").at("cached_tokens").as_int64(),
              first.at("usage").at("input_tokens").as_int64());
    // The same by sending all items, as who keeps nothing here does.
    const json::value whole = post(
        world, {{"input", json::array{json::object{{"role", "user"}, {"content", "It gets dark."}},
                                      call, result}},
                {"tools", json::array{tool}}});
    EXPECT_EQ(whole.at("usage").at("input_tokens"), second.at("usage").at("input_tokens"));
    json::object streamed = asked;
    streamed["stream"] = true;
    const auto events = events_of(world.post(kResponses, body_of(streamed)).body);
    std::map<std::string, int> counts;
    for (const json::value& event : events) ++counts[std::string(event.at("type").as_string())];
    EXPECT_EQ(counts["response.function_call_arguments.done"], 1);
    EXPECT_EQ(counts["response.output_text.delta"], 0);
    EXPECT_EQ(events.back().at("response").at("output").at(0).at("arguments"),
              call.at("arguments"));
}

TEST(ResponsesEndpoint, FormatsAndBadFields) {
    NodeWorld world;
    const json::value format = json::parse(
        R"({"type":"json_schema","name":"n","schema":{"type":"object","properties":
            {"on":{"type":"boolean"}},"required":["on"]}})");
    const json::value bound =
        post(world, {{"input", "x"}, {"max_output_tokens", 100}, {"text", {{"format", format}}}});
    EXPECT_TRUE(json::parse(text_of(bound)).at("on").is_bool());
    const std::vector<std::pair<json::object, std::string>> cases = {
        {{}, "input"},
        {{{"input", json::array{}}}, "input"},
        {{{"input", 5}}, "input"},
        {{{"input", json::array{json::object{{"type", "reasoning"}}}}}, "input[0].type"},
        {{{"input", json::array{json::object{{"role", "tool"}, {"content", "x"}}}}},
         "input[0].role"},
        {{{"input", json::array{json::object{{"role", "user"}}}}}, "input[0].content"},
        {{{"input", json::array{json::object{
                        {"type", "function_call_output"}, {"call_id", "c"}, {"output", "x"}}}}},
         "input[0].call_id"},
        {{{"input", "x"}, {"max_output_tokens", 0}}, "max_output_tokens"},
        {{{"input", "x"}, {"temperature", 3}}, "temperature"},
        {{{"input", "x"}, {"background", true}}, "background"},
        {{{"input", "x"}, {"conversation", "c"}}, "conversation"},
        {{{"input", "x"}, {"include", json::array{"file_search_call.results"}}}, "include[0]"},
        {{{"input", "x"}, {"store", 1}}, "store"},
        {{{"input", "x"}, {"text", {{"format", {{"type", "json_schema"}}}}}}, "text.format.name"},
        {{{"input", "x"}, {"tools", json::array{json::object{{"type", "web_search"}}}}},
         "tools[0].type"},
    };
    for (const auto& [fields, param] : cases) {
        const auto answer = world.post(kResponses, body_of(fields));
        EXPECT_EQ(answer.status, 400) << answer.body;
        EXPECT_EQ(json::parse(answer.body).at("error").at("param"), json::value(param))
            << answer.body;
    }
}

}  // namespace
}  // namespace hearth
