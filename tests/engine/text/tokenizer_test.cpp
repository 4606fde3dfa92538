// Tokenizer against the shared suite of vocabularies, special tokens, and the streaming
// detokenizer.
#include "engine/text/tokenizer.h"

#include <gtest/gtest.h>

#include <fstream>
#include <iterator>
#include <sstream>

#include "tests/engine/text/vocabularies.h"

namespace hearth::engine {
namespace {

std::string whole_file(const std::string& path) {
    std::ifstream in(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
}

// The suite's strings: parted by a marker line, with one more marker after the last.
std::vector<std::string> suite_strings(const std::string& path) {
    const std::string text = whole_file(path);
    const std::string marker = "\n__ggml_vocab_test__\n";
    std::vector<std::string> strings;
    std::size_t begin = 0;
    for (auto end = text.find(marker); end != text.npos; end = text.find(marker, begin)) {
        strings.push_back(text.substr(begin, end - begin));
        begin = end + marker.size();
    }
    return strings;
}

std::vector<std::vector<TokenId>> suite_ids(const std::string& path) {
    std::ifstream in(path);
    std::vector<std::vector<TokenId>> all;
    for (std::string line; std::getline(in, line);) {
        std::istringstream words(line);
        all.emplace_back(std::istream_iterator<TokenId>(words), std::istream_iterator<TokenId>());
    }
    return all;
}

class TokenizerSuite : public testing::TestWithParam<const char*> {};

TEST_P(TokenizerSuite, GivesTheReferenceIds) {
    const std::string path =
        suite_file("tokenizers/ggml-vocab-" + std::string(GetParam()) + ".gguf");
    if (path.empty()) GTEST_SKIP() << "the shared suite of tokenizers is not on this machine";
    auto spec = suite_vocabulary(GetParam());
    ASSERT_TRUE(spec.ok()) << spec.error().message;
    auto tokenizer = Tokenizer::make(*spec);
    ASSERT_TRUE(tokenizer.ok()) << tokenizer.error().message;
    const auto strings = suite_strings(path + ".inp");
    const auto ids = suite_ids(path + ".out");
    ASSERT_EQ(strings.size(), 46u);
    ASSERT_EQ(ids.size(), strings.size());
    for (std::size_t i = 0; i < strings.size(); ++i) {
        const auto got = ids_of(**tokenizer, strings[i]);
        EXPECT_EQ(got, ids[i]) << "string " << i << ": \"" << strings[i] << "\"";
        std::string expected = strings[i];
        const bool prefixed = spec->kind == VocabularyKind::kSentencePiece && !expected.empty();
        if (prefixed) expected.insert(0, " ");
        EXPECT_EQ(text_of(**tokenizer, got), expected) << "string " << i;
    }
}

INSTANTIATE_TEST_SUITE_P(Vocabularies, TokenizerSuite,
                         testing::Values("deepseek-llm", "falcon", "gpt-2", "llama-spm", "mpt",
                                         "phi-3", "starcoder"),
                         [](const auto& test) {
                             std::string name = test.param;
                             std::erase(name, '-');
                             return name;
                         });

TEST(Tokenizer, ControlTokensAreParsedOnlyOnRequest) {
    const auto tokenizer = tokenizer_of(byte_vocabulary());
    const TokenId mark = tokenizer->find("<|im_end|>");
    ASSERT_GE(mark, 0);
    EXPECT_EQ(ids_of(*tokenizer, "a<|im_end|>", Tokenizer::Special::kParse),
              (std::vector<TokenId>{'a', mark}));
    const auto plain = ids_of(*tokenizer, "a<|im_end|>");
    EXPECT_EQ(plain.size(), 11u);
    EXPECT_EQ(text_of(*tokenizer, plain), "a<|im_end|>");
    EXPECT_EQ(tokenizer->decode(mark), "");
    EXPECT_EQ(tokenizer->decode(mark, true), "<|im_end|>");
}

TEST(Tokenizer, UserDefinedTokensAreTakenInBothModesLongestFirst) {
    VocabularySpec spec = byte_vocabulary();
    const TokenId two = add_token(spec, "ab", TokenType::kUserDefined);
    const TokenId three = add_token(spec, "abc", TokenType::kUserDefined);
    const auto tokenizer = tokenizer_of(spec);
    for (const auto mode : {Tokenizer::Special::kParse, Tokenizer::Special::kPlain}) {
        EXPECT_EQ(ids_of(*tokenizer, "xabcabd", mode),
                  (std::vector<TokenId>{'x', three, two, 'd'}));
    }
    EXPECT_EQ(tokenizer->decode(three), "abc");
}

TEST(Tokenizer, EndsOfReply) {
    VocabularySpec spec = byte_vocabulary();
    const TokenId turn = add_token(spec, "<|turn|>", TokenType::kControl);
    spec.end_of_turn = {turn};
    const auto tokenizer = tokenizer_of(spec);
    EXPECT_TRUE(tokenizer->ends_reply(spec.eos));
    EXPECT_TRUE(tokenizer->ends_reply(turn));
    EXPECT_FALSE(tokenizer->ends_reply('a'));
    EXPECT_FALSE(tokenizer->ends_reply(-1));
    EXPECT_FALSE(tokenizer->ends_reply(tokenizer->size()));
    EXPECT_EQ(tokenizer->decode(-1), "");
    EXPECT_EQ(tokenizer->decode(tokenizer->size(), true), "");
}

TEST(Tokenizer, BadTablesAreErrors) {
    VocabularySpec spec = byte_vocabulary();
    spec.types.pop_back();
    EXPECT_EQ(Tokenizer::make(spec).error().code, ErrorCode::kCorrupt);
    spec = byte_vocabulary();
    spec.eos = 100000;
    EXPECT_EQ(Tokenizer::make(spec).error().code, ErrorCode::kCorrupt);
    spec = byte_vocabulary();
    spec.merges.emplace_back("nope", "a");
    const auto made = Tokenizer::make(spec);
    EXPECT_EQ(made.error().code, ErrorCode::kCorrupt);
    EXPECT_NE(made.error().message.find("nope"), std::string::npos);
    spec = sentencepiece_vocabulary();
    spec.scores.clear();
    EXPECT_EQ(Tokenizer::make(spec).error().code, ErrorCode::kCorrupt);
    spec = sentencepiece_vocabulary();
    add_token(spec, "<0xZZ>", TokenType::kByte);
    EXPECT_EQ(Tokenizer::make(spec).error().code, ErrorCode::kCorrupt);
    EXPECT_EQ(Tokenizer::make(VocabularySpec{}).error().code, ErrorCode::kCorrupt);
}

// Streams `bytes` token by token and checks that each call gives whole runes.
std::string streamed(const Tokenizer& tokenizer, const std::string& bytes) {
    StreamingDetokenizer detokenizer(tokenizer);
    std::string text;
    for (const char c : bytes) text += detokenizer.add(static_cast<unsigned char>(c));
    return text + detokenizer.finish();
}

TEST(StreamingDetokenizer, HoldsBackHalfARune) {
    const auto tokenizer = tokenizer_of(byte_vocabulary());
    StreamingDetokenizer detokenizer(*tokenizer);
    EXPECT_EQ(detokenizer.add(0xF0), "");
    EXPECT_EQ(detokenizer.add(0x9F), "");
    EXPECT_EQ(detokenizer.add(0xA6), "");
    EXPECT_EQ(detokenizer.add(0x99), "\xF0\x9F\xA6\x99");
    EXPECT_EQ(detokenizer.add('a'), "a");
    EXPECT_EQ(detokenizer.add(0xE2), "");
    EXPECT_EQ(detokenizer.add('b'),
              "\xEF\xBF\xBD"
              "b");
    EXPECT_EQ(detokenizer.add(0xE2), "");
    EXPECT_EQ(detokenizer.add(tokenizer->spec().eos), "");
    EXPECT_EQ(detokenizer.finish(), "\xEF\xBF\xBD");
    EXPECT_EQ(detokenizer.finish(), "");
}

std::string from_hex(const std::string& digits) {
    std::string bytes, pair;
    for (const char c : digits) {
        if (!std::isxdigit(static_cast<unsigned char>(c))) continue;
        pair.push_back(c);
        if (pair.size() < 2) continue;
        bytes.push_back(static_cast<char>(std::stoi(pair, nullptr, 16)));
        pair.clear();
    }
    return bytes;
}

TEST(StreamingDetokenizer, ReplacesAsTheUtf8SuiteSays) {
    const std::string path = suite_file("utf8/utf8tests.txt");
    if (path.empty()) GTEST_SKIP() << "the shared suite of UTF-8 sequences is not on this machine";
    const auto tokenizer = tokenizer_of(byte_vocabulary());
    std::ifstream in(path);
    int cases = 0;
    for (std::string line; std::getline(in, line);) {
        if (line.empty() || line[0] == '#') continue;
        std::vector<std::string> fields;
        std::istringstream parts(line);
        for (std::string field; std::getline(parts, field, ':');) fields.push_back(field);
        if (fields.size() < 3) continue;
        const bool hex = fields[1].ends_with("hex");
        const std::string bytes = hex ? from_hex(fields[2]) : fields[2];
        const bool valid = fields[1].find("invalid") == std::string::npos;
        const std::string expected = valid ? bytes : from_hex(fields.at(4));
        EXPECT_EQ(streamed(*tokenizer, bytes), expected) << line;
        ++cases;
    }
    EXPECT_GE(cases, 200);
}

}  // namespace
}  // namespace hearth::engine
