// Responses: every shape parsed back and compared with OpenAI's field by field.
#include "cachenode/api/responses.h"

#include <gtest/gtest.h>
#include <boost/json/parse.hpp>
#include <cmath>
#include <limits>

namespace hearth {
namespace {

namespace json = boost::json;

// Ids are single bytes, so half a UTF-8 character is a token, as in real vocabularies.
class ByteTokenizer final : public engine::Tokenizer {
  public:
    void encode(std::string_view text, Special, std::vector<engine::TokenId>& out) const override {
        for (const char c : text) out.push_back(static_cast<unsigned char>(c));
    }
    void encode_continuation(std::string_view text, Special special,
                             std::vector<engine::TokenId>& out) const override {
        encode(text, special, out);
    }
    std::string decode(engine::TokenId id, bool) const override {
        return std::string(1, static_cast<char>(id));
    }
    std::int32_t size() const override { return 256; }
    const engine::VocabularySpec& spec() const override { return spec_; }
    bool ends_reply(engine::TokenId id) const override { return id == 0; }
    engine::TokenId find(std::string_view) const override { return -1; }

  private:
    engine::VocabularySpec spec_;
};

ReplyHead head_of(Endpoint endpoint) {
    ReplyHead head;
    head.endpoint = endpoint;
    head.id = endpoint == Endpoint::kChat ? "chatcmpl-1" : "cmpl-1";
    head.created = 1'700'000'000;
    head.model = "tiny \"quoted\"";
    head.fingerprint = "fp_1";
    return head;
}

TurnUsage usage_of() {
    TurnUsage usage;
    usage.prompt_tokens = 10;
    usage.cached_tokens = 8;
    usage.cache_write_tokens = 2;
    usage.completion_tokens = 3;
    return usage;
}

// The data of each event, parsed; the framing is checked on the way. "[DONE]" comes as a string.
std::vector<json::value> events_of(std::string_view stream) {
    std::vector<json::value> out;
    while (!stream.empty()) {
        EXPECT_TRUE(stream.starts_with("data: ")) << stream;
        const std::size_t end = stream.find("\n\n");
        EXPECT_NE(end, std::string_view::npos) << stream;
        if (end == std::string_view::npos) break;
        const std::string_view data = stream.substr(6, end - 6);
        EXPECT_EQ(data.find('\n'), std::string_view::npos);
        if (data == "[DONE]") out.emplace_back("[DONE]");
        if (data != "[DONE]") out.push_back(json::parse({data.data(), data.size()}));
        stream.remove_prefix(end + 2);
    }
    return out;
}

std::vector<Choice> one(std::string text, FinishReason finish) {
    std::vector<Choice> choices(1);
    choices[0].text = std::move(text);
    choices[0].finish = finish;
    return choices;
}

TEST(Responses, WholeChat) {
    const ByteTokenizer tokenizer;
    ReplyWriter writer(head_of(Endpoint::kChat), tokenizer);
    const auto answer =
        json::parse(writer.whole(one("Hi\n\"\xc3\xa9\"", FinishReason::kStop), usage_of()));
    EXPECT_EQ(answer, json::parse(R"({
        "id":"chatcmpl-1","object":"chat.completion","created":1700000000,
        "model":"tiny \"quoted\"","system_fingerprint":"fp_1",
        "choices":[{"index":0,"message":{"role":"assistant","content":"Hi\n\"é\"","refusal":null},
                    "logprobs":null,"finish_reason":"stop"}],
        "usage":{"prompt_tokens":10,"completion_tokens":3,"total_tokens":13,
                 "prompt_tokens_details":{"cached_tokens":8,"cache_write_tokens":2}}})"));
}

TEST(Responses, WholeCompletion) {
    const ByteTokenizer tokenizer;
    ReplyWriter writer(head_of(Endpoint::kCompletion), tokenizer);
    const auto answer = json::parse(writer.whole(one("text", FinishReason::kLength), usage_of()));
    EXPECT_EQ(answer, json::parse(R"({
        "id":"cmpl-1","object":"text_completion","created":1700000000,
        "model":"tiny \"quoted\"","system_fingerprint":"fp_1",
        "choices":[{"index":0,"text":"text","logprobs":null,"finish_reason":"length"}],
        "usage":{"prompt_tokens":10,"completion_tokens":3,"total_tokens":13,
                 "prompt_tokens_details":{"cached_tokens":8,"cache_write_tokens":2}}})"));
}

TEST(Responses, ChatStream) {
    const ByteTokenizer tokenizer;
    ReplyHead head = head_of(Endpoint::kChat);
    head.include_usage = true;
    ReplyWriter writer(head, tokenizer);
    const auto events =
        events_of(writer.first_chunks() + writer.chunk("Hel", {}) + writer.chunk("lo", {}) +
                  writer.finish_chunk(FinishReason::kStop) + writer.end(usage_of()));
    ASSERT_EQ(events.size(), 6u);
    const std::string open = R"({"id":"chatcmpl-1","object":"chat.completion.chunk",
        "created":1700000000,"model":"tiny \"quoted\"","system_fingerprint":"fp_1","choices":)";
    const auto choice = [&](const char* delta, const char* finish) {
        return json::parse(open + R"([{"index":0,"delta":)" + delta +
                           R"(,"logprobs":null,"finish_reason":)" + finish + R"(}],"usage":null})");
    };
    EXPECT_EQ(events[0], choice(R"({"role":"assistant","content":""})", "null"));
    EXPECT_EQ(events[1], choice(R"({"content":"Hel"})", "null"));
    EXPECT_EQ(events[2], choice(R"({"content":"lo"})", "null"));
    EXPECT_EQ(events[3], choice("{}", "\"stop\""));
    EXPECT_EQ(events[4], json::parse(open + R"([],"usage":{"prompt_tokens":10,
        "completion_tokens":3,"total_tokens":13,
        "prompt_tokens_details":{"cached_tokens":8,"cache_write_tokens":2}}})"));
    EXPECT_EQ(events[5], json::value("[DONE]"));
}

TEST(Responses, StreamWithoutUsageHasNoUsageKey) {
    const ByteTokenizer tokenizer;
    ReplyWriter writer(head_of(Endpoint::kChat), tokenizer);
    const auto events =
        events_of(writer.first_chunks() + writer.chunk("x", {}) +
                  writer.finish_chunk(FinishReason::kLength) + writer.end(usage_of()));
    ASSERT_EQ(events.size(), 4u);
    for (std::size_t i = 0; i + 1 < events.size(); ++i)
        EXPECT_FALSE(events[i].as_object().contains("usage"));
    EXPECT_EQ(events[2].at("choices").at(0).at("finish_reason"), json::value("length"));
}

TEST(Responses, CompletionStream) {
    const ByteTokenizer tokenizer;
    ReplyWriter writer(head_of(Endpoint::kCompletion), tokenizer);
    EXPECT_EQ(writer.first_chunks(), "");
    const auto events = events_of(writer.chunk("a", {}) + writer.finish_chunk(FinishReason::kStop) +
                                  writer.end(usage_of()));
    ASSERT_EQ(events.size(), 3u);
    EXPECT_EQ(events[0].at("object"), json::value("text_completion"));
    EXPECT_EQ(events[0].at("choices").at(0),
              json::parse(R"({"index":0,"text":"a","logprobs":null,"finish_reason":null})"));
    EXPECT_EQ(events[1].at("choices").at(0),
              json::parse(R"({"index":0,"text":"","logprobs":null,"finish_reason":"stop"})"));
}

std::vector<engine::Sampled> half_character() {
    engine::Sampled first;
    first.id = 0xc3;
    first.logprob = -0.5f;
    first.top = {{0xc3, -0.5f}, {'a', -1.0f}};
    engine::Sampled second;
    second.id = 0xa9;
    second.logprob = -std::numeric_limits<float>::infinity();
    second.top = {{'b', std::nanf("")}};
    return {first, second};
}

TEST(Responses, ChatLogprobsCarryExactBytes) {
    const ByteTokenizer tokenizer;
    ReplyHead head = head_of(Endpoint::kChat);
    head.logprobs = true;
    ReplyWriter writer(head, tokenizer);
    const auto events = events_of(writer.chunk("\xc3\xa9", half_character()));
    ASSERT_EQ(events.size(), 1u);
    EXPECT_EQ(events[0].at("choices").at(0).at("logprobs"), json::parse(R"({"content":[
        {"token":"�","logprob":-0.5,"bytes":[195],"top_logprobs":[
            {"token":"�","logprob":-0.5,"bytes":[195]},
            {"token":"a","logprob":-1.0,"bytes":[97]}]},
        {"token":"�","logprob":-9999.0,"bytes":[169],"top_logprobs":[
            {"token":"b","logprob":-9999.0,"bytes":[98]}]}],"refusal":null})"));
}

TEST(Responses, CompletionLogprobsCountCharacters) {
    const ByteTokenizer tokenizer;
    ReplyHead head = head_of(Endpoint::kCompletion);
    head.logprobs = true;
    ReplyWriter writer(head, tokenizer);
    writer.chunk("\xc3\xa9", half_character());
    engine::Sampled third;
    third.id = 'z';
    third.logprob = -2.0f;
    const auto events = events_of(writer.chunk("z", std::vector{third}));
    EXPECT_EQ(events[0].at("choices").at(0).at("logprobs"),
              json::parse(R"({"tokens":["z"],"token_logprobs":[-2.0],"top_logprobs":[{}],
                              "text_offset":[2]})"));
}

TEST(Responses, ErrorsAreObjectsWhateverTheMessageHolds) {
    ApiError error = invalid_field("messages[0].role", "invalid_value", "bad \"x\"\n\xff\x01");
    const auto body = json::parse(error.body());
    EXPECT_EQ(body.at("error").at("param"), json::value("messages[0].role"));
    EXPECT_EQ(body.at("error").at("code"), json::value("invalid_value"));
    EXPECT_EQ(body.at("error").at("type"), json::value("invalid_request_error"));
    error.param.clear();
    error.code.clear();
    const auto bare = json::parse(error.body());
    EXPECT_TRUE(bare.at("error").at("param").is_null());
    EXPECT_TRUE(bare.at("error").at("code").is_null());
    const auto events = events_of(error_event(error));
    ASSERT_EQ(events.size(), 1u);
    EXPECT_TRUE(events[0].as_object().contains("error"));
}

TEST(Responses, StatusOfEachFailure) {
    const auto status = [](ErrorCode code) { return api_error_from(make_error(code, "m"), 7); };
    EXPECT_EQ(status(ErrorCode::kExhausted).status, 429);
    EXPECT_EQ(status(ErrorCode::kExhausted).retry_after_s, 7);
    EXPECT_EQ(status(ErrorCode::kTooLarge).status, 400);
    EXPECT_EQ(status(ErrorCode::kTooLarge).code, "context_length_exceeded");
    EXPECT_EQ(status(ErrorCode::kTimeout).status, 408);
    EXPECT_EQ(status(ErrorCode::kUnavailable).status, 503);
    EXPECT_EQ(status(ErrorCode::kCancelled).status, 503);
    EXPECT_EQ(status(ErrorCode::kCorrupt).status, 500);
}

TEST(Responses, Models) {
    const ServedModel model{"tiny", 1'700'000'000, 4096};
    const auto one = json::parse(R"({"id":"tiny","object":"model","created":1700000000,
                                     "owned_by":"hearth","max_model_len":4096})");
    EXPECT_EQ(json::parse(model_object(model)), one);
    const auto list = json::parse(model_list(model));
    EXPECT_EQ(list.at("object"), json::value("list"));
    ASSERT_EQ(list.at("data").as_array().size(), 1u);
    EXPECT_EQ(list.at("data").at(0), one);
    const std::vector<engine::TokenId> tokens = {3, 4};
    EXPECT_EQ(json::parse(token_list(tokens, 9)),
              json::parse(R"({"count":2,"max_model_len":9,"tokens":[3,4]})"));
}

}  // namespace
}  // namespace hearth
