// Chat and completion requests: what is accepted, what is refused, and which field the refusal
// names.
#include "cachenode/api/chat_request.h"

#include <gtest/gtest.h>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "common/base/rng.h"

namespace hearth {
namespace {

namespace fs = std::filesystem;

constexpr std::int32_t kVocabulary = 1000;
const std::string kSuites = std::string(HEARTH_SOURCE_DIR) + "/../shared/suites/json";

std::string read_file(const fs::path& path) {
    std::ifstream in(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
}

// A minimal chat body with `more` fields.
std::string chat(const std::string& more) {
    return R"({"model":"m","messages":[{"role":"user","content":"hi"}])" +
           (more.empty() ? "" : "," + more) + "}";
}

std::string completion(const std::string& more) {
    return R"({"model":"m","prompt":"hi")" + (more.empty() ? "" : "," + more) + "}";
}

std::string messages(const std::string& list) {
    return R"({"model":"m","messages":)" + list + "}";
}

ChatRequest accepted(const std::string& body) {
    ChatRequest request;
    const auto error = parse_chat_request(body, kVocabulary, request);
    EXPECT_FALSE(error.has_value()) << body << ": " << (error ? error->message : "");
    return request;
}

struct Refusal {
    std::string body, param, code;
};

void expect_refusal(const std::optional<ApiError>& error, const Refusal& want) {
    ASSERT_TRUE(error.has_value()) << "accepted: " << want.body;
    EXPECT_EQ(error->status, 400) << want.body;
    EXPECT_EQ(error->type, "invalid_request_error") << want.body;
    EXPECT_EQ(error->param, want.param) << want.body << ": " << error->message;
    EXPECT_EQ(error->code, want.code) << want.body << ": " << error->message;
    EXPECT_FALSE(error->message.empty());
    boost::json::error_code ec;
    const auto parsed = boost::json::parse(error->body(), ec);
    ASSERT_FALSE(ec) << error->body();
    for (const char* key : {"message", "type", "param", "code"})
        EXPECT_TRUE(parsed.at("error").as_object().contains(key)) << error->body();
}

TEST(ChatRequest, DefaultsAreOpenAis) {
    const ChatRequest request = accepted(chat(""));
    EXPECT_EQ(request.model, "m");
    ASSERT_EQ(request.messages.size(), 1u);
    EXPECT_EQ(request.messages[0].role, engine::Role::kUser);
    EXPECT_EQ(request.messages[0].content, "hi");
    const TurnOptions& o = request.options;
    EXPECT_EQ(o.sampling.temperature, 1.0f);
    EXPECT_EQ(o.sampling.top_p, 1.0f);
    EXPECT_EQ(o.sampling.top_k, 0);
    EXPECT_EQ(o.sampling.top_logprobs, -1);
    EXPECT_FALSE(o.seeded);
    EXPECT_FALSE(o.max_tokens.has_value());
    EXPECT_TRUE(o.cache_prompt);
    EXPECT_FALSE(o.stream);
    EXPECT_FALSE(o.include_usage);
}

TEST(ChatRequest, ReadsEveryField) {
    const ChatRequest request = accepted(chat(R"(
        "temperature":0.5,"top_p":0.9,"top_k":40,"min_p":0.05,"n":1,"stop":["a","b"],"seed":-7,
        "logprobs":true,"top_logprobs":3,"logit_bias":{"5":-100,"999":1.5},"frequency_penalty":-2,
        "presence_penalty":2,"repetition_penalty":1.1,"stream":true,
        "stream_options":{"include_usage":true},"ignore_eos":true,"min_tokens":2,"max_tokens":9,
        "max_completion_tokens":7,"stop_token_ids":[1,2],"cache_prompt":false,
        "response_format":{"type":"text"},"tools":[],"tool_choice":"none","user":"u","nope":{"x":1}
    )"));
    const TurnOptions& o = request.options;
    EXPECT_FLOAT_EQ(o.sampling.temperature, 0.5f);
    EXPECT_FLOAT_EQ(o.sampling.top_p, 0.9f);
    EXPECT_EQ(o.sampling.top_k, 40);
    EXPECT_FLOAT_EQ(o.sampling.min_p, 0.05f);
    EXPECT_EQ(o.stop, (std::vector<std::string>{"a", "b"}));
    EXPECT_TRUE(o.seeded);
    EXPECT_EQ(o.sampling.seed, static_cast<std::uint64_t>(-7));
    EXPECT_EQ(o.sampling.top_logprobs, 3);
    ASSERT_EQ(o.sampling.logit_bias.size(), 2u);
    EXPECT_EQ(o.sampling.logit_bias[0], (std::pair<engine::TokenId, float>{5, -100.0f}));
    EXPECT_FLOAT_EQ(o.sampling.frequency_penalty, -2.0f);
    EXPECT_FLOAT_EQ(o.sampling.presence_penalty, 2.0f);
    EXPECT_FLOAT_EQ(o.sampling.repetition_penalty, 1.1f);
    EXPECT_TRUE(o.stream);
    EXPECT_TRUE(o.include_usage);
    EXPECT_TRUE(o.ignore_eos);
    EXPECT_EQ(o.min_tokens, 2);
    EXPECT_EQ(o.max_tokens, 7);  // The newer name wins.
    EXPECT_EQ(o.stop_token_ids, (std::vector<engine::TokenId>{1, 2}));
    EXPECT_FALSE(o.cache_prompt);
    EXPECT_EQ(o.ignored, std::vector<std::string>{"nope"});
    EXPECT_EQ(accepted(chat(R"("n":16)")).options.choices, 16);
}

TEST(ChatRequest, NullMeansDefault) {
    const ChatRequest request = accepted(chat(
        R"("temperature":null,"top_p":null,"n":null,"stop":null,"seed":null,"logprobs":null,
           "stream":null,"stream_options":null,"max_tokens":null,"tools":null,"logit_bias":null,
           "response_format":null,"stop_token_ids":null,"top_logprobs":null)"));
    EXPECT_EQ(request.options.sampling.temperature, 1.0f);
    EXPECT_FALSE(request.options.max_tokens.has_value());
}

TEST(ChatRequest, RolesAndContents) {
    const ChatRequest request = accepted(messages(
        R"([{"role":"developer","content":"a"},{"role":"system","content":""},
            {"role":"user","content":[{"type":"text","text":"x"},{"type":"text","text":"y\n"}]},
            {"role":"assistant","content":null},{"role":"assistant","tool_calls":[]},
            {"role":"assistant","content":"z","refusal":null,"name":"n"}])"));
    ASSERT_EQ(request.messages.size(), 6u);
    EXPECT_EQ(request.messages[0].role, engine::Role::kSystem);
    EXPECT_EQ(request.messages[1].role, engine::Role::kSystem);
    EXPECT_EQ(request.messages[2].content, "xy\n");
    EXPECT_EQ(request.messages[3].content, "");
    EXPECT_EQ(request.messages[4].content, "");
    EXPECT_EQ(request.messages[5].content, "z");
}

TEST(ChatRequest, IntegersMayBeWrittenAsReals) {
    EXPECT_EQ(accepted(chat(R"("max_tokens":1e1)")).options.max_tokens, 10);
    EXPECT_EQ(accepted(chat(R"("max_tokens":10.0)")).options.max_tokens, 10);
}

TEST(ChatRequest, LimitsAreInclusive) {
    for (const char* field :
         {R"("temperature":0)", R"("temperature":2)", R"("top_p":0)", R"("top_p":1)",
          R"("top_k":-1)", R"("frequency_penalty":-2)", R"("presence_penalty":2.0)",
          R"("logprobs":true,"top_logprobs":20)", R"("logprobs":true,"top_logprobs":0)",
          R"("stop":[])", R"("stop":["1","2","3","4"])", R"("seed":9223372036854775807)",
          R"("seed":-9223372036854775808)", R"("logit_bias":{})",
          R"("min_tokens":3,"max_tokens":3)"})
        accepted(chat(field));
}

void expect_refusals(const std::vector<Refusal>& table) {
    for (const Refusal& refusal : table) {
        ChatRequest request;
        expect_refusal(parse_chat_request(refusal.body, kVocabulary, request), refusal);
    }
}

TEST(ChatRequest, RefusesBadMessages) {
    expect_refusals({
        {"{}", "model", "missing_required_parameter"},
        {R"({"model":1,"messages":[]})", "model", "invalid_type"},
        {R"({"model":"","messages":[]})", "model", "invalid_value"},
        {R"({"model":null,"messages":[]})", "model", "missing_required_parameter"},
        {R"({"model":"m"})", "messages", "missing_required_parameter"},
        {messages("null"), "messages", "missing_required_parameter"},
        {messages("[]"), "messages", "invalid_value"},
        {messages("{}"), "messages", "invalid_type"},
        {messages("[1]"), "messages[0]", "invalid_type"},
        {messages("[{}]"), "messages[0].role", "missing_required_parameter"},
        {messages(R"([{"role":1}])"), "messages[0].role", "invalid_type"},
        {messages(R"([{"role":"function","content":"x"}])"), "messages[0].role", "invalid_value"},
        {messages(R"([{"role":"user"}])"), "messages[0].content", "missing_required_parameter"},
        {messages(R"([{"role":"user","content":"a"},{"role":"user","content":null}])"),
         "messages[1].content", "missing_required_parameter"},
        {messages(R"([{"role":"user","content":5}])"), "messages[0].content", "invalid_type"},
        {messages(R"([{"role":"user","content":[{"type":"text","text":"a"},
                       {"type":"image_url","image_url":{"url":"x"}}]}])"),
         "messages[0].content[1].type", "invalid_value"},
        {messages(R"([{"role":"user","content":["a"]}])"), "messages[0].content[0]",
         "invalid_type"},
        {messages(R"([{"role":"user","content":[{"text":"a"}]}])"), "messages[0].content[0].type",
         "invalid_value"},
        {messages(R"([{"role":"user","content":[{"type":"text"}]}])"),
         "messages[0].content[0].text", "invalid_type"},
        {messages(R"([{"role":"assistant","content":null,"tool_calls":[{"id":"1"}]}])"),
         "messages[0].tool_calls[0].type", "missing_required_parameter"},
    });
}

TEST(ChatRequest, RefusesBadSampling) {
    expect_refusals({
        {chat(R"("temperature":2.01)"), "temperature", "invalid_value"},
        {chat(R"("temperature":-0.1)"), "temperature", "invalid_value"},
        {chat(R"("temperature":"1")"), "temperature", "invalid_type"},
        {chat(R"("temperature":true)"), "temperature", "invalid_type"},
        {chat(R"("top_p":1.1)"), "top_p", "invalid_value"},
        {chat(R"("min_p":-1)"), "min_p", "invalid_value"},
        {chat(R"("top_k":-2)"), "top_k", "invalid_value"},
        {chat(R"("top_k":1.5)"), "top_k", "invalid_value"},
        {chat(R"("n":0)"), "n", "invalid_value"},
        {chat(R"("stop":["1","2","3","4","5"])"), "stop", "invalid_value"},
        {chat(R"("stop":["a",1])"), "stop[1]", "invalid_type"},
        {chat(R"("stop":"")"), "stop", "invalid_value"},
        {chat(R"("stop":{})"), "stop", "invalid_type"},
        {chat(R"("seed":"x")"), "seed", "invalid_type"},
        {chat(R"("seed":1e30)"), "seed", "invalid_value"},
        {chat(R"("seed":18446744073709551615)"), "seed", "invalid_value"},
    });
}

TEST(ChatRequest, RefusesWhatItCannotDo) {
    expect_refusals({
        {chat(R"("logprobs":3)"), "logprobs", "invalid_type"},
        {chat(R"("logprobs":true,"top_logprobs":21)"), "top_logprobs", "invalid_value"},
        {chat(R"("top_logprobs":2)"), "top_logprobs", "invalid_value"},
        {chat(R"("logit_bias":{"1000":1})"), "logit_bias.1000", "invalid_value"},
        {chat(R"("logit_bias":{"x":1})"), "logit_bias.x", "invalid_value"},
        {chat(R"("logit_bias":{"1":101})"), "logit_bias.1", "invalid_value"},
        {chat(R"("logit_bias":{"1":"a"})"), "logit_bias.1", "invalid_type"},
        {chat(R"("logit_bias":[1])"), "logit_bias", "invalid_type"},
        {chat(R"("frequency_penalty":2.1)"), "frequency_penalty", "invalid_value"},
        {chat(R"("presence_penalty":-3)"), "presence_penalty", "invalid_value"},
        {chat(R"("repetition_penalty":0)"), "repetition_penalty", "invalid_value"},
        {chat(R"("stream":1)"), "stream", "invalid_type"},
        {chat(R"("stream_options":{"include_usage":true})"), "stream_options", "invalid_value"},
        {chat(R"("stream":true,"stream_options":{"include_usage":1})"),
         "stream_options.include_usage", "invalid_type"},
        {chat(R"("stream":true,"stream_options":[])"), "stream_options", "invalid_type"},
        {chat(R"("ignore_eos":"no")"), "ignore_eos", "invalid_type"},
        {chat(R"("max_tokens":0)"), "max_tokens", "invalid_value"},
        {chat(R"("max_tokens":-1)"), "max_tokens", "invalid_value"},
        {chat(R"("max_completion_tokens":0)"), "max_completion_tokens", "invalid_value"},
        {chat(R"("min_tokens":5,"max_tokens":4)"), "min_tokens", "invalid_value"},
        {chat(R"("stop_token_ids":[1000])"), "stop_token_ids[0]", "invalid_value"},
        {chat(R"("stop_token_ids":[-1])"), "stop_token_ids[0]", "invalid_value"},
        {chat(R"("stop_token_ids":1)"), "stop_token_ids", "invalid_type"},
        {chat(R"("cache_prompt":0)"), "cache_prompt", "invalid_type"},
        {chat(R"("response_format":{"type":"grammar"})"), "response_format.type", "invalid_value"},
        {chat(R"("response_format":{"type":"json_schema"})"), "response_format.json_schema",
         "missing_required_parameter"},
        {chat(R"("response_format":{"type":"json_schema","json_schema":{"schema":{}}})"),
         "response_format.json_schema.name", "missing_required_parameter"},
        {chat(
             R"("response_format":{"type":"json_schema","json_schema":
              {"name":"a b","schema":{}}})"),
         "response_format.json_schema.name", "invalid_value"},
        {chat(R"("response_format":{"type":"json_schema","json_schema":{"name":"a"}})"),
         "response_format.json_schema.schema", "missing_required_parameter"},
        {chat(R"("response_format":{"type":"json_schema","json_schema":
              {"name":"a","strict":1,"schema":{}}})"),
         "response_format.json_schema.strict", "invalid_type"},
        {chat(R"("response_format":{"type":"json_schema","json_schema":
              {"name":"a","schema":{"type":"object","properties":{"n":{"minimum":1}}}}})"),
         "response_format.json_schema.schema.properties.n.minimum", "unsupported_parameter"},
        {chat(R"("response_format":{})"), "response_format.type", "missing_required_parameter"},
        {chat(R"("response_format":"text")"), "response_format", "invalid_type"},
        {chat(R"("functions":[])"), "functions", "unsupported_parameter"},
        {chat(R"("audio":{})"), "audio", "unsupported_parameter"},
        {chat(R"("modalities":["text","audio"])"), "modalities", "unsupported_parameter"},
        {chat(R"("store":true)"), "store", "unsupported_parameter"},
        {chat(R"("n":0)"), "n", "invalid_value"},
        {chat(R"("n":17)"), "n", "invalid_value"},
        {chat(R"("n":"2")"), "n", "invalid_type"},
        {chat(R"("best_of":2)"), "best_of", "unsupported_value"},
        {chat(R"("user":5)"), "user", "invalid_type"},
        {chat(R"("prompt_cache_key":{})"), "prompt_cache_key", "invalid_type"},
        {chat(R"("metadata":5)"), "metadata", "invalid_type"},
        {chat(R"("metadata":{"a":1})"), "metadata.a", "invalid_type"},
        {chat("\"metadata\":{\"a\":\"" + std::string(513, 'x') + "\"}"), "metadata.a",
         "invalid_value"},
        {chat("\"metadata\":{\"" + std::string(65, 'k') + "\":\"v\"}"), "metadata",
         "invalid_value"},
        {chat(R"("guided_json":{})"), "guided_json", "unsupported_parameter"},
    });
}

// Documents that are not one object, or that two readers could read differently.
TEST(ChatRequest, RefusesWhatIsNotOneObject) {
    expect_refusals({
        {"", "", "invalid_json"},
        {"[]", "", "invalid_type"},
        {"null", "", "invalid_type"},
        {chat("") + "x", "", "invalid_json"},
        {chat(R"("temperature":1,"temperature":2)"), "", "invalid_json"},
        {chat(R"("x":{"a":1,"\u0061":2})"), "", "invalid_json"},
        {chat("\"x\":\"\xff\""), "", "invalid_json"},
        {chat(R"("x":"\ud800")"), "", "invalid_json"},
        {chat("\"x\":" + std::string(100, '[') + std::string(100, ']')), "", "invalid_json"},
        {"\xef\xbb\xbf" + chat(""), "", "invalid_json"},
    });
}

TEST(CompletionRequest, PromptKinds) {
    CompletionRequest text;
    EXPECT_FALSE(parse_completion_request(completion(R"("logprobs":2)"), kVocabulary, text));
    EXPECT_EQ(text.text, "hi");
    EXPECT_FALSE(text.is_tokens);
    EXPECT_EQ(text.options.sampling.top_logprobs, 2);
    for (const char* prompt : {"[1,2,999]", "[[1,2,999]]"}) {
        CompletionRequest tokens;
        const std::string body = std::string(R"({"model":"m","prompt":)") + prompt + "}";
        EXPECT_FALSE(parse_completion_request(body, kVocabulary, tokens));
        EXPECT_TRUE(tokens.is_tokens);
        EXPECT_EQ(tokens.tokens, (std::vector<engine::TokenId>{1, 2, 999}));
    }
    CompletionRequest one;
    EXPECT_FALSE(parse_completion_request(R"({"model":"m","prompt":["x"]})", kVocabulary, one));
    EXPECT_EQ(one.text, "x");
}

TEST(CompletionRequest, RefusesAndNamesTheField) {
    const std::vector<Refusal> table = {
        {R"({"model":"m"})", "prompt", "missing_required_parameter"},
        {R"({"model":"m","prompt":5})", "prompt", "invalid_type"},
        {R"({"model":"m","prompt":[]})", "prompt", "invalid_value"},
        {R"({"model":"m","prompt":[[]]})", "prompt[0]", "invalid_value"},
        {R"({"model":"m","prompt":["a","b"]})", "prompt", "unsupported_value"},
        {R"({"model":"m","prompt":[1,"b"]})", "prompt[1]", "invalid_type"},
        {R"({"model":"m","prompt":[1,1000]})", "prompt[1]", "invalid_value"},
        {R"({"model":"m","prompt":[[1,-1]]})", "prompt[0][1]", "invalid_value"},
        {completion(R"("echo":true)"), "echo", "unsupported_parameter"},
        {completion(R"("suffix":"x")"), "suffix", "unsupported_parameter"},
        {completion(R"("best_of":2)"), "best_of", "unsupported_value"},
        {completion(R"("logprobs":21)"), "logprobs", "invalid_value"},
        {completion(R"("logprobs":true)"), "logprobs", "invalid_type"},
        {completion(R"("temperature":3)"), "temperature", "invalid_value"},
    };
    for (const Refusal& refusal : table) {
        CompletionRequest request;
        expect_refusal(parse_completion_request(refusal.body, kVocabulary, request), refusal);
    }
}

TEST(ChatRequest, EveryBodyOfTheJsonSuiteIsRefused) {
    const fs::path folder = kSuites + "/JSONTestSuite";
    if (!fs::exists(folder)) GTEST_SKIP() << "no JSON suite at " << folder;
    int bodies = 0;
    for (const auto& entry : fs::directory_iterator(folder)) {
        if (entry.path().extension() != ".json") continue;
        ++bodies;
        const std::string body = read_file(entry.path());
        ChatRequest chat_request;
        CompletionRequest completion_request;
        const auto first = parse_chat_request(body, kVocabulary, chat_request);
        const auto second = parse_completion_request(body, kVocabulary, completion_request);
        for (const auto& error : {first, second}) {
            ASSERT_TRUE(error.has_value()) << entry.path();
            EXPECT_EQ(error->status, 400) << entry.path();
            boost::json::error_code ec;
            boost::json::parse(error->body(), ec);
            EXPECT_FALSE(ec) << entry.path();
        }
    }
    EXPECT_GT(bodies, 200);
}

TEST(ChatRequest, NaughtyStringsPassThroughUnchanged) {
    const fs::path file = kSuites + "/blns.json";
    if (!fs::exists(file)) GTEST_SKIP() << "no naughty strings at " << file;
    const auto strings = boost::json::parse(read_file(file)).as_array();
    ASSERT_GT(strings.size(), 400u);
    for (const auto& value : strings) {
        const std::string text(value.as_string());
        const std::string quoted = boost::json::serialize(value);
        const ChatRequest request = accepted(
            messages(R"([{"role":"user","content":)" + quoted +
                     R"(},{"role":"user","content":[{"type":"text","text":)" + quoted + "}]}]"));
        ASSERT_EQ(request.messages.size(), 2u);
        EXPECT_EQ(request.messages[0].content, text);
        EXPECT_EQ(request.messages[1].content, text);
        if (text.empty()) continue;
        ChatRequest named;
        EXPECT_FALSE(parse_chat_request(
            R"({"model":)" + quoted + R"(,"messages":[{"role":"user","content":"x"}]})",
            kVocabulary, named));
        EXPECT_EQ(named.model, text);
    }
}

// Whatever is done to a valid body, the answer is a request or a 400, never a crash.
TEST(ChatRequest, SurvivesMutations) {
    const std::string seed_body = chat(
        R"("stream":true,"stream_options":{"include_usage":true},"stop":["a"],"logit_bias":{"5":1},
           "response_format":{"type":"text"},"max_tokens":5,"temperature":0.5)");
    const std::uint64_t seed = 20'240'607;
    RecordProperty("seed", static_cast<int>(seed));
    Rng rng(seed);
    for (int round = 0; round < 20'000; ++round) {
        std::string body = seed_body;
        for (std::uint64_t edits = 1 + rng.below(4); edits > 0; --edits) {
            const std::size_t at = rng.below(body.size());
            switch (rng.below(3)) {
                case 0: body[at] = static_cast<char>(rng.below(256)); break;
                case 1: body.erase(at, 1 + rng.below(4)); break;
                default: body.insert(at, body.substr(rng.below(body.size()), rng.below(16))); break;
            }
            if (body.empty()) body = "{";
        }
        ChatRequest request;
        const auto error = parse_chat_request(body, kVocabulary, request);
        if (error) {
            EXPECT_EQ(error->status, 400) << "seed " << seed << ": " << body;
        } else {
            EXPECT_FALSE(request.messages.empty()) << "seed " << seed << ": " << body;
        }
    }
}

}  // namespace
}  // namespace hearth
