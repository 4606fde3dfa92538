// Pre-tokenizer rules: tables of words by rule, unknown names, and time that stays linear.
#include "engine/text/pre_tokenizer.h"

#include <gtest/gtest.h>

namespace hearth::engine {
namespace {

using Words = std::vector<std::string>;

Words split(const PreTokenizer& rule, std::string_view text) {
    std::vector<std::uint32_t> ends;
    rule.split(text, ends);
    Words words;
    std::uint32_t begin = 0;
    for (const std::uint32_t end : ends) {
        words.emplace_back(text.substr(begin, end - begin));
        begin = end;
    }
    return words;
}

PreTokenizer rule_of(const std::string& name, const std::string& pattern = "",
                     bool split_digits = false) {
    VocabularySpec spec;
    spec.pre_tokenizer = name;
    spec.pre_tokenizer_regex = pattern;
    spec.split_digits = split_digits;
    auto made = PreTokenizer::make(spec);
    CHECK_MSG(made.ok(), name + pattern);
    return *made;
}

struct Case {
    const char* rule;
    const char* text;
    Words words;
};

TEST(PreTokenizer, WordsByRule) {
    const Case cases[] = {
        {"gpt-2", "", {}},
        {"gpt-2", "Hello world", {"Hello", " world"}},
        {"gpt-2", "it's we'll I'VE", {"it", "'s", " we", "'ll", " I", "'", "VE"}},
        {"gpt-2", "a   b", {"a", "  ", " b"}},
        {"gpt-2", "a  ", {"a", "  "}},
        {"gpt-2", "a\n\nb", {"a", "\n", "\n", "b"}},
        {"gpt-2", "x=12345!?", {"x", "=", "12345", "!?"}},
        {"gpt-2", "e\xCC\x81t", {"e", "\xCC\x81", "t"}},  // A combining mark is no letter.
        {"gpt-2", "a\xFF\xFE b", {"a", "\xFF\xFE", " b"}},
        {"starcoder", "v12 3", {"v", "1", "2", " ", "3"}},
        {"smollm", "a  9", {"a", "  ", "9"}},
        {"llama-bpe", "I'VE 12345", {"I", "'VE", " ", "123", "45"}},
        {"llama-bpe", "a\n \n  b", {"a", "\n \n", " ", " b"}},
        {"llama-bpe", "(hello)!\n\nx", {"(hello", ")!\n\n", "x"}},
        {"llama-bpe", "\tx", {"\tx"}},
        {"llama-bpe", "x \n", {"x", " \n"}},
        {"qwen2", "a 123", {"a", " ", "1", "2", "3"}},
        {"falcon", "a, b 12345 $x`", {"a", ",", " b", " ", "123", "45", " ", "$", "x", "`"}},
        {"default", "x`12345", {"x", "`", "123", "45"}},
        {"deepseek-llm", "F\xC3\xBChrer", {"F", "\xC3\xBC", "hrer"}},
        {"deepseek-llm", " na\xC3\xAFve 12\n", {" na", "\xC3\xAF", "ve", " ", "12", "\n"}},
        {"deepseek-coder", "int x1= y;\n", {"int", " x", "1", "=", " y", ";", "\n"}},
        {"deepseek-llm", "x  \n", {"x", "  ", "\n"}},
        {"deepseek-llm", "\xE6\x88\x91\xE6\x83\xB3!", {"\xE6\x88\x91\xE6\x83\xB3", "!"}},
    };
    for (const Case& c : cases) {
        EXPECT_EQ(split(rule_of(c.rule), c.text), c.words) << c.rule << ": \"" << c.text << '"';
    }
}

TEST(PreTokenizer, PatternsOfTokenizerJson) {
    const PreTokenizer gpt2 = rule_of(
        "", R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)");
    EXPECT_EQ(split(gpt2, "ab 123"), (Words{"ab", " 123"}));
    const PreTokenizer llama3 = rule_of(
        "", R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+)"
            R"([\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)");
    EXPECT_EQ(split(llama3, "ab 1234"), (Words{"ab", " ", "123", "4"}));
    const PreTokenizer qwen2 = rule_of(
        "", R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+)"
            R"([\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)");
    EXPECT_EQ(split(qwen2, "ab 12"), (Words{"ab", " ", "1", "2"}));
    const PreTokenizer digits = rule_of("gpt-2", "", true);
    EXPECT_EQ(split(digits, "ab 12"), (Words{"ab", " ", "1", "2"}));
}

TEST(PreTokenizer, UnknownRulesAreNamed) {
    VocabularySpec spec;
    spec.pre_tokenizer = "tekken-9";
    auto made = PreTokenizer::make(spec);
    ASSERT_FALSE(made.ok());
    EXPECT_EQ(made.error().code, ErrorCode::kUnsupported);
    EXPECT_NE(made.error().message.find("tekken-9"), std::string::npos);
    spec.pre_tokenizer_regex = "[a-z]+";
    made = PreTokenizer::make(spec);
    ASSERT_FALSE(made.ok());
    EXPECT_EQ(made.error().code, ErrorCode::kUnsupported);
    EXPECT_NE(made.error().message.find("[a-z]+"), std::string::npos);
}

// A megabyte of what would make a careless matcher scan again and again: with quadratic work this
// test would not end.
TEST(PreTokenizer, TimeIsLinearWhateverTheText) {
    constexpr std::size_t kBytes = 1 << 20;
    std::string broken_runs;
    while (broken_runs.size() < kBytes) broken_runs += std::string(50000, ' ') + "\xE2\x82\xAC";
    const std::string texts[] = {std::string(kBytes, ' '),
                                 std::string(kBytes, '\n'),
                                 std::string(kBytes, 'a'),
                                 std::string(kBytes, '7'),
                                 std::string(kBytes, '\''),
                                 std::string(kBytes, '\xE2'),
                                 broken_runs};
    for (const char* name :
         {"gpt-2", "smollm", "llama-bpe", "qwen2", "falcon", "deepseek-llm", "default"}) {
        const PreTokenizer rule = rule_of(name);
        for (const std::string& text : texts) {
            std::vector<std::uint32_t> ends;
            rule.split(text, ends);
            EXPECT_EQ(ends.back(), text.size()) << name;
        }
    }
}

}  // namespace
}  // namespace hearth::engine
