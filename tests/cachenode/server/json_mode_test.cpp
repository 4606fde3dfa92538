// response_format over HTTP, on a tiny model that babbles: whole and streamed, several replies, in
// a batch, with the cache and without.
#include <gtest/gtest.h>
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <cstdio>
#include <random>

#include "cachenode/api/strict_json.h"
#include "tests/cachenode/api/random_schema.h"
#include "tests/cachenode/server/node_world.h"

namespace hearth {
namespace {

namespace json = boost::json;
using testing::chat_body;
using testing::NodeWorld;

constexpr const char* kChat = "/v1/chat/completions";

// Leans to what closes values, as a model that was taught to would.
std::string fields(const json::value& format, std::uint64_t seed, int max_tokens) {
    return R"("temperature":1,"logit_bias":{"34":9,"125":9,"93":9,"44":6},"max_tokens":)" +
           std::to_string(max_tokens) + ",\"seed\":" + std::to_string(seed >> 12) +
           ",\"response_format\":" + json::serialize(format);
}

json::value format_of(const json::value& schema) {
    return {{"type", "json_schema"},
            {"json_schema", {{"name", "it"}, {"strict", true}, {"schema", schema}}}};
}

struct Reply {
    std::string text, finish;
};

std::vector<Reply> replies_of(const HttpClient::Answer& answer) {
    EXPECT_EQ(answer.status, 200) << answer.body;
    std::vector<Reply> out;
    if (answer.status != 200) return out;
    const json::value body = json::parse(answer.body);
    for (const json::value& choice : body.at("choices").as_array())
        out.push_back({std::string(choice.at("message").at("content").as_string()),
                       std::string(choice.at("finish_reason").as_string())});
    return out;
}

Reply streamed(const HttpClient::Answer& answer) {
    EXPECT_EQ(answer.status, 200) << answer.body;
    Reply out;
    for (const std::string& line : testing::sse_data(answer.body)) {
        if (line == "[DONE]") break;
        const json::value event = json::parse(line);
        const json::value& choice = event.at("choices").at(0);
        const json::object& delta = choice.at("delta").as_object();
        if (const json::value* text = delta.if_contains("content"))
            out.text += std::string(text->as_string());
        if (choice.at("finish_reason").is_string())
            out.finish = choice.at("finish_reason").as_string();
    }
    return out;
}

std::string body_of(const std::string& more) {
    return chat_body({{"system", "You speak JSON."}, {"user", "Say something."}}, more);
}

TEST(JsonMode, EveryReplyThatEndsIsValidHoweverItIsComputed) {
    const std::uint64_t seed = std::random_device{}();
    std::printf("seed %llu\n", static_cast<unsigned long long>(seed));
    Rng rng(seed);
    std::vector<json::value> schemas;
    std::vector<std::string> asked, bodies;
    for (int i = 0; i < 40; ++i) {
        schemas.push_back(testing::random_schema(rng, 3));
        asked.push_back(fields(format_of(schemas.back()), rng.next(), 200));
        bodies.push_back(body_of(asked.back()));
    }
    NodeWorld world;
    const auto answers = world.post_all(kChat, bodies);
    NodeConfig bare;
    bare.cache = false;
    NodeWorld other(bare);
    int ended = 0;
    for (std::size_t i = 0; i < bodies.size(); ++i) {
        SCOPED_TRACE(bodies[i]);
        const auto replies = replies_of(answers[i]);
        ASSERT_EQ(replies.size(), 1u);
        const Reply& reply = replies[0];
        const Reply alone = streamed(other.post(kChat, body_of("\"stream\":true," + asked[i])));
        EXPECT_EQ(alone.text, reply.text);
        EXPECT_EQ(alone.finish, reply.finish);
        if (reply.finish == "length") continue;
        ASSERT_EQ(reply.finish, "stop");
        ++ended;
        const auto value = parse_strict_json(reply.text);
        ASSERT_TRUE(value.ok()) << reply.text;
        EXPECT_EQ(testing::why_invalid(schemas[i], *value), "") << reply.text;
    }
    EXPECT_GT(ended, 20);
}

TEST(JsonMode, EachOfSeveralRepliesIsAnObject) {
    NodeWorld world;
    const json::value format{{"type", "json_object"}};
    const auto replies =
        replies_of(world.post(kChat, body_of("\"n\":6," + fields(format, 77 << 12, 300))));
    ASSERT_EQ(replies.size(), 6u);
    int ended = 0;
    for (const Reply& reply : replies) {
        if (reply.finish != "stop") continue;
        ++ended;
        const json::value value = json::parse(reply.text);
        EXPECT_TRUE(value.is_object()) << reply.text;
    }
    EXPECT_GT(ended, 0);
    const auto cut = replies_of(world.post(kChat, body_of(fields(format, 1 << 12, 1))));
    ASSERT_EQ(cut.size(), 1u);
    EXPECT_EQ(cut[0].finish, "length");
}

}  // namespace
}  // namespace hearth
