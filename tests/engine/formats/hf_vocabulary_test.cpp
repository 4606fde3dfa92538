// read_hf_vocabulary: tokenizer.json of the families that Hearth loads, and what it refuses.
#include <gtest/gtest.h>

#include <boost/json.hpp>
#include <cstdio>
#include <string>

#include "common/base/rng.h"
#include "engine/formats/hf_model.h"
#include "engine/formats/json_file.h"

namespace hearth::engine {
namespace {

namespace json = boost::json;

HfTokenizerFiles files_of(const std::string& tokenizer, const std::string& tokenizer_config = "{}",
                          const std::string& generation = "{}", const std::string& config = "{}") {
    HfTokenizerFiles out;
    out.tokenizer = json::parse(tokenizer).as_object();
    out.tokenizer_config = json::parse(tokenizer_config).as_object();
    out.generation = json::parse(generation).as_object();
    out.config = json::parse(config).as_object();
    out.folder = "folder";
    return out;
}

std::string tokenizer_with(const std::string& pre_tokenizer, const std::string& extra = "") {
    return R"({"pre_tokenizer":)" + pre_tokenizer + extra +
           R"(,"model":{"type":"BPE","vocab":{"a":0,"b":1,"ab":2},"merges":["a b"]}})";
}

const std::string kSplit =
    R"({"type":"Split","pattern":{"Regex":"\\p{N}{1,3}"},"behavior":"Isolated","invert":false})";
const std::string kBytes = R"({"type":"ByteLevel","add_prefix_space":false,"use_regex":false})";
const std::string kBytesWithPattern = R"({"type":"ByteLevel","add_prefix_space":false})";

std::string sequence(const std::string& first, const std::string& second) {
    return R"({"type":"Sequence","pretokenizers":[)" + first + "," + second + "]}";
}

TEST(HfVocabulary, PreTokenizers) {
    const auto plain = read_hf_vocabulary(files_of(tokenizer_with(kBytesWithPattern)), 3);
    ASSERT_TRUE(plain.ok()) << plain.error().message;
    EXPECT_EQ(plain->pre_tokenizer, "gpt-2");
    EXPECT_EQ(plain->pre_tokenizer_regex, "");
    EXPECT_FALSE(plain->split_digits);
    EXPECT_EQ(plain->merges.size(), 1u);

    const auto digits = read_hf_vocabulary(
        files_of(tokenizer_with(
            sequence(R"({"type":"Digits","individual_digits":true})", kBytesWithPattern))),
        3);
    ASSERT_TRUE(digits.ok()) << digits.error().message;
    EXPECT_EQ(digits->pre_tokenizer, "gpt-2");
    EXPECT_TRUE(digits->split_digits);

    const auto split = read_hf_vocabulary(files_of(tokenizer_with(sequence(kSplit, kBytes))), 3);
    ASSERT_TRUE(split.ok()) << split.error().message;
    EXPECT_EQ(split->pre_tokenizer, "");
    EXPECT_EQ(split->pre_tokenizer_regex, "\\p{N}{1,3}");
}

TEST(HfVocabulary, Llama3Shape) {
    const std::string tokenizer = R"({
      "added_tokens":[{"id":3,"content":"<|begin_of_text|>","special":true},
                      {"id":4,"content":"<|eot_id|>","special":true},
                      {"id":5,"content":"<tool>","special":false}],
      "pre_tokenizer":)" + sequence(kSplit, kBytes) +
                                  R"(,
      "post_processor":{"type":"Sequence","processors":[{"type":"ByteLevel"},
        {"type":"TemplateProcessing","single":[{"SpecialToken":{"id":"<|begin_of_text|>"}},
                                               {"Sequence":{"id":"A"}}]}]},
      "model":{"type":"BPE","ignore_merges":true,"vocab":{"a":0,"b":1,"ab":2},
               "merges":[["a","b"]]}})";
    const auto spec = read_hf_vocabulary(
        files_of(tokenizer, R"({"bos_token":"<|begin_of_text|>","eos_token":"<|eot_id|>"})",
                 R"({"eos_token_id":[2,4,99]})"),
        8);
    ASSERT_TRUE(spec.ok()) << spec.error().message;
    EXPECT_TRUE(spec->ignore_merges);
    EXPECT_EQ(spec->bos, 3);
    EXPECT_EQ(spec->eos, 4);
    EXPECT_TRUE(spec->add_bos) << "the post-processor's template begins with BOS";
    EXPECT_EQ(spec->end_of_turn, std::vector<TokenId>{2});
    EXPECT_EQ(spec->types[4], TokenType::kControl);
    EXPECT_EQ(spec->types[5], TokenType::kUserDefined);
    EXPECT_EQ(spec->types[6], TokenType::kUnused) << "padding up to the model's vocab_size";
    ASSERT_EQ(spec->tokens.size(), 8u);
    EXPECT_NE(spec->tokens[6], spec->tokens[7]);
    EXPECT_EQ(spec->merges[0], (std::pair<std::string, std::string>("a", "b")));
}

// Llama 2, TinyLlama, Mistral: merges without scores, spaces by the normalizer.
const char* const kLlama2 = R"({
  "added_tokens":[{"id":0,"content":"<unk>","special":true},{"id":1,"content":"<s>","special":true},
                  {"id":2,"content":"</s>","special":true}],
  "normalizer":{"type":"Sequence","normalizers":[{"type":"Prepend","prepend":"▁"},
    {"type":"Replace","pattern":{"String":" "},"content":"▁"}]},
  "pre_tokenizer":null,
  "post_processor":{"type":"TemplateProcessing","single":[{"SpecialToken":{"id":"<s>"}},
                                                          {"Sequence":{"id":"A"}}]},
  "model":{"type":"BPE","unk_token":"<unk>","byte_fallback":true,
    "vocab":{"<unk>":0,"<s>":1,"</s>":2,"<0x0A>":3,"▁":4,"a":5,"b":6,"c":7,"ab":8,"▁ab":9,
      "abc":10},
    "merges":["a b","▁ ab","ab c","a bc"]}})";

TEST(HfVocabulary, SentencePieceScoresFollowTheMerges) {
    const auto spec = read_hf_vocabulary(
        files_of(kLlama2, R"({"bos_token":{"content":"<s>"},"eos_token":"</s>"})"), 11);
    ASSERT_TRUE(spec.ok()) << spec.error().message;
    EXPECT_EQ(spec->kind, VocabularyKind::kSentencePiece);
    EXPECT_TRUE(spec->add_space_prefix);
    EXPECT_TRUE(spec->add_bos);
    EXPECT_EQ(spec->unknown, 0);
    EXPECT_EQ(spec->bos, 1);
    EXPECT_EQ(spec->eos, 2);
    EXPECT_EQ(spec->types[0], TokenType::kUnknown);
    EXPECT_EQ(spec->types[2], TokenType::kControl);
    EXPECT_EQ(spec->types[3], TokenType::kByte);
    EXPECT_EQ(spec->types[5], TokenType::kNormal);
    EXPECT_TRUE(spec->merges.empty());
    ASSERT_EQ(spec->scores.size(), 11u);
    EXPECT_EQ(spec->scores[8], 0.0f);
    EXPECT_EQ(spec->scores[9], -1.0f);
    EXPECT_EQ(spec->scores[10], -2.0f) << "the first merge that makes it counts";
    EXPECT_LT(spec->scores[5], -3.0f) << "no merge makes it";

    const auto without = read_hf_vocabulary(
        files_of(kLlama2, R"({"bos_token":"<s>","eos_token":"</s>","add_bos_token":false})"), 11);
    EXPECT_FALSE(without->add_bos) << "tokenizer_config.json has the last word";
}

// Qwen composes text before it cuts it; Gemma splits at spaces that are no longer there.
TEST(HfVocabulary, NormalizersOfQwenAndGemma) {
    const auto qwen = read_hf_vocabulary(
        files_of(tokenizer_with(kBytesWithPattern, R"(,"normalizer":{"type":"NFC"})")), 3);
    ASSERT_TRUE(qwen.ok()) << qwen.error().message;
    EXPECT_TRUE(qwen->nfc);
    const auto gemma = read_hf_vocabulary(
        files_of(R"({"normalizer":{"type":"Replace","pattern":{"String":" "},"content":"\u2581"},
        "pre_tokenizer":{"type":"Split","pattern":{"String":" "},
        "behavior":"MergedWithPrevious","invert":false},
        "model":{"type":"BPE","byte_fallback":true,"vocab":{"a":0,"\u2581":1,"\u2581a":2},
        "merges":[["\u2581","a"]]}})"),
        3);
    ASSERT_TRUE(gemma.ok()) << gemma.error().message;
    EXPECT_EQ(gemma->kind, VocabularyKind::kSentencePiece);
    EXPECT_FALSE(gemma->add_space_prefix);
}

TEST(HfVocabulary, Metaspace) {
    const auto read = [](const std::string& metaspace) {
        return read_hf_vocabulary(
            files_of(R"({"pre_tokenizer":{"type":"Metaspace","replacement":"▁",)" + metaspace +
                     R"(},"model":{"type":"BPE","byte_fallback":true,"vocab":{"a":0,"▁":1},
                     "merges":[]}})"),
            2);
    };
    EXPECT_TRUE(read(R"("prepend_scheme":"first","split":false)")->add_space_prefix);
    EXPECT_FALSE(read(R"("prepend_scheme":"never","split":false)")->add_space_prefix);
    EXPECT_TRUE(read(R"("add_prefix_space":true)")->add_space_prefix);
}

TEST(HfVocabulary, EosFromWhereItIsNamed) {
    const std::string tokenizer = tokenizer_with(kBytesWithPattern);
    const auto generation = read_hf_vocabulary(
        files_of(tokenizer, "{}", R"({"eos_token_id":1})", R"({"eos_token_id":2})"), 3);
    ASSERT_TRUE(generation.ok());
    EXPECT_EQ(generation->eos, 1) << "generation_config.json before config.json";
    EXPECT_EQ(generation->end_of_turn, std::vector<TokenId>{2});
    const auto config =
        read_hf_vocabulary(files_of(tokenizer, "{}", "{}", R"({"eos_token_id":2})"), 3);
    EXPECT_EQ(config->eos, 2);
    EXPECT_EQ(read_hf_vocabulary(files_of(tokenizer), 3)->eos, -1);
}

TEST(HfVocabulary, ChatTemplates) {
    const auto read = [](const char* text) {
        return read_hf_chat_template(json::parse(text).as_object());
    };
    EXPECT_EQ(read(R"({"chat_template":"one"})"), "one");
    EXPECT_EQ(read(R"({"chat_template":[{"name":"rag","template":"r"},
                                        {"name":"default","template":"d"}]})"),
              "d");
    EXPECT_EQ(read(R"({"chat_template":[{"name":"rag","template":"r"}]})"), "r");
    EXPECT_EQ(read(R"({"chat_template":null})"), "");
    EXPECT_EQ(read("{}"), "");
}

TEST(HfVocabulary, RefusesWhatItHasNoRuleFor) {
    struct {
        std::string tokenizer;
        ErrorCode code;
        const char* message;
    } const cases[] = {
        {R"({"model":{"type":"Unigram"}})", ErrorCode::kUnsupported, "'Unigram' (supported: BPE)"},
        {"{}", ErrorCode::kCorrupt, "key 'model' is missing"},
        {tokenizer_with(R"({"type":"Whitespace"})"), ErrorCode::kUnsupported, "'Whitespace'"},
        {tokenizer_with("null"), ErrorCode::kUnsupported, "'none'"},
        {tokenizer_with(R"({"type":"ByteLevel","add_prefix_space":true})"), ErrorCode::kUnsupported,
         "add_prefix_space"},
        {tokenizer_with(kBytes), ErrorCode::kUnsupported, "without a pattern"},
        {tokenizer_with(sequence(kSplit, kBytesWithPattern)), ErrorCode::kUnsupported,
         "Split with ByteLevel's use_regex"},
        {tokenizer_with(sequence(kSplit, kSplit)), ErrorCode::kUnsupported, "pre_tokenizer"},
        {tokenizer_with(sequence(R"({"type":"Digits","individual_digits":false})", kBytes)),
         ErrorCode::kUnsupported, "'Digits'"},
        {tokenizer_with(kBytesWithPattern, R"(,"normalizer":{"type":"NFKC"})"),
         ErrorCode::kUnsupported, "'NFKC'"},
        {R"({"pre_tokenizer":{"type":"ByteLevel","add_prefix_space":false},
             "model":{"type":"BPE","vocab":{"a":5},"merges":[]}})",
         ErrorCode::kCorrupt, "token 'a' has id 5, the model has 3"},
        {R"({"pre_tokenizer":{"type":"ByteLevel","add_prefix_space":false},
             "model":{"type":"BPE","vocab":{"a":-1},"merges":[]}})",
         ErrorCode::kCorrupt, "an id that is none"},
        {R"({"pre_tokenizer":{"type":"ByteLevel","add_prefix_space":false},
             "model":{"type":"BPE","vocab":{"a":0},"merges":["a"]}})",
         ErrorCode::kCorrupt, "entry 0 is no pair"},
        {R"({"pre_tokenizer":{"type":"ByteLevel","add_prefix_space":false},
             "added_tokens":[{"id":3,"content":"x"}],
             "model":{"type":"BPE","vocab":{"a":0},"merges":[]}})",
         ErrorCode::kCorrupt, "added_tokens: token 'x' has id 3"},
    };
    for (const auto& bad : cases) {
        const auto spec = read_hf_vocabulary(files_of(bad.tokenizer), 3);
        ASSERT_FALSE(spec.ok()) << bad.message;
        EXPECT_EQ(spec.error().code, bad.code) << spec.error().message;
        EXPECT_NE(spec.error().message.find(bad.message), std::string::npos)
            << spec.error().message << " should contain: " << bad.message;
        EXPECT_EQ(spec.error().message.rfind("folder/tokenizer.json: ", 0), 0u);
    }
}

TEST(HfVocabulary, RandomChangesNeverCrash) {
    const std::uint64_t seed = 11;
    std::printf("seed %llu\n", static_cast<unsigned long long>(seed));
    Rng rng(seed);
    const std::string good = kLlama2;
    int parsed_count = 0;
    int read_count = 0;
    for (int round = 0; round < 10'000; ++round) {
        std::string text = good;
        for (std::uint64_t i = 0; i <= rng.below(2); ++i) {
            const std::size_t at = rng.below(text.size());
            const std::size_t from = rng.below(text.size());
            const std::size_t size = rng.below(8);
            if (rng.below(2) == 0)
                text[at] = static_cast<char>(rng.below(128));
            else
                text.replace(at, size, good.substr(from, size));
        }
        auto tokenizer = parse_json(text, "tokenizer.json", 1 << 20);
        if (!tokenizer) continue;
        ++parsed_count;
        HfTokenizerFiles files;
        files.tokenizer = std::move(*tokenizer);
        files.folder = "folder";
        const auto spec = read_hf_vocabulary(files, 11);
        if (!spec) continue;
        ++read_count;
        ASSERT_EQ(spec->tokens.size(), 11u);
        ASSERT_EQ(spec->scores.empty(), spec->kind == VocabularyKind::kByteLevelBpe);
    }
    EXPECT_GT(parsed_count, 1000);
    EXPECT_GT(read_count, 500);
}

}  // namespace
}  // namespace hearth::engine
