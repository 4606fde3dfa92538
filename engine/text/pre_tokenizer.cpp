// The passes of the known pre-tokenizer rules, written as matchers over rune classes.
#include "engine/text/pre_tokenizer.h"

#include <algorithm>
#include <array>
#include <span>
#include <string>

#include "engine/text/runes.h"

namespace hearth::engine {
namespace {

using Pass = PreTokenizer::Pass;

struct Rule {
    std::string_view key;
    std::vector<Pass> passes;
};

const std::vector<Rule>& rules_by_name() {
    static const std::vector<Rule> rules = [] {
        const std::vector<Pass> gpt2 = {Pass::kGpt2};
        const std::vector<Pass> digits = {Pass::kEachNumber, Pass::kGpt2};
        const std::vector<Pass> deepseek = {Pass::kNewlines,        Pass::kCasedWords,
                                            Pass::kWidePunctuation, Pass::kTrailingSpace,
                                            Pass::kEastAsian,       Pass::kNumberRuns};
        const std::vector<Pass> fallback = {Pass::kPunctuation, Pass::kGpt2, Pass::kNumberRuns,
                                            Pass::kDigitTriples};
        return std::vector<Rule>{
            {"", gpt2},
            {"gpt-2", gpt2},
            {"gpt2", gpt2},
            {"mpt", gpt2},
            {"olmo", gpt2},
            {"starcoder", digits},
            {"smollm", digits},
            {"refact", digits},
            {"command-r", digits},
            {"llama-bpe", {Pass::kLlama3}},
            {"llama3", {Pass::kLlama3}},
            {"llama-v3", {Pass::kLlama3}},
            {"qwen2", {Pass::kQwen2}},
            {"stablelm2", {Pass::kQwen2}},
            {"deepseek-r1-qwen", {Pass::kQwen2}},
            {"falcon", {Pass::kPunctuationTick, Pass::kGpt2, Pass::kDigitTriples}},
            {"deepseek-llm", deepseek},
            {"deepseek-coder",
             {Pass::kNewlines, Pass::kSpacedLetters, Pass::kSpacedMarks, Pass::kEastAsian,
              Pass::kEachNumber}},
            {"dbrx", {Pass::kLlama3}},
            {"smaug-bpe", {Pass::kLlama3}},
            {"default", fallback},  // What llama.cpp does for files that name no rule.
        };
    }();
    return rules;
}

// The Split patterns that tokenizer.json files of these families carry.
const std::vector<Rule>& rules_by_pattern() {
    static const std::vector<Rule> rules = {
        {R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)",
         {Pass::kGpt2}},
        {R"('(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)",
         {Pass::kGpt2}},
        {R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3})"
         R"(| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)",
         {Pass::kLlama3}},
        {R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N})"
         R"(| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)",
         {Pass::kQwen2}},
    };
    return rules;
}

// One piece of the text; positions at or past `end` are outside.
struct Piece {
    std::span<const Rune> runes;
    std::size_t begin = 0;
    std::size_t end = 0;

    char32_t code(std::size_t i) const { return i < end ? runes[i].code : kNoRune; }
    RuneClass kind(std::size_t i) const { return i < end ? runes[i].kind : RuneClass::kNone; }
    bool is(std::size_t i, RuneClass k) const { return kind(i) == k; }
    bool is_symbol(std::size_t i) const {  // [^\s\p{L}\p{N}]
        return is(i, RuneClass::kOther) || is(i, RuneClass::kPunctuation);
    }
    bool is_newline(std::size_t i) const { return code(i) == '\r' || code(i) == '\n'; }

    std::size_t run(std::size_t i, RuneClass k) const {
        while (is(i, k)) ++i;
        return i;
    }
    std::size_t symbol_run(std::size_t i) const {
        while (is_symbol(i)) ++i;
        return i;
    }
};

// Length of an English contraction at `at` ('s, 't, 'm, 'd, 're, 've, 'll), else 0.
std::size_t contraction(const Piece& p, std::size_t at, bool any_case) {
    if (p.code(at) != '\'') return 0;
    const auto fold = [any_case](char32_t c) {
        return any_case && c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c;
    };
    const char32_t a = fold(p.code(at + 1));
    const char32_t b = fold(p.code(at + 2));
    if (a == 's' || a == 't' || a == 'm' || a == 'd') return 2;
    if ((a == 'r' && b == 'e') || (a == 'v' && b == 'e') || (a == 'l' && b == 'l')) return 3;
    return 0;
}

// \s+(?!\S)|\s+: a run of space leaves its last rune to the word that follows it.
std::size_t match_space(const Piece& p, std::size_t at) {
    const std::size_t end = p.run(at, RuneClass::kSpace);
    return end < p.end && end - at > 1 ? end - 1 : end;
}

std::size_t match_gpt2(const Piece& p, std::size_t at) {
    if (const std::size_t n = contraction(p, at, false)) return at + n;
    const std::size_t word = at + (p.code(at) == ' ' ? 1 : 0);
    const RuneClass kind = p.kind(word);
    if (kind == RuneClass::kLetter || kind == RuneClass::kNumber) return p.run(word, kind);
    if (p.is_symbol(word)) return p.symbol_run(word);
    return match_space(p, at);
}

std::size_t match_llama3(const Piece& p, std::size_t at, std::size_t digits_max) {
    if (const std::size_t n = contraction(p, at, true)) return at + n;
    if (p.is(at, RuneClass::kLetter)) return p.run(at, RuneClass::kLetter);
    const bool may_lead = !p.is_newline(at) && !p.is(at, RuneClass::kNumber);
    if (may_lead && p.is(at + 1, RuneClass::kLetter)) return p.run(at + 1, RuneClass::kLetter);
    if (p.is(at, RuneClass::kNumber)) {
        std::size_t end = at + 1;
        while (end < at + digits_max && p.is(end, RuneClass::kNumber)) ++end;
        return end;
    }
    const std::size_t symbols = at + (p.code(at) == ' ' ? 1 : 0);
    if (p.is_symbol(symbols)) {
        std::size_t end = p.symbol_run(symbols);
        while (p.is_newline(end)) ++end;
        return end;
    }
    std::size_t newline_end = at;
    for (std::size_t i = at; p.is(i, RuneClass::kSpace); ++i) {
        if (p.is_newline(i)) newline_end = i + 1;
    }
    return newline_end > at ? newline_end : match_space(p, at);
}

struct Range {
    char32_t first, last;
};

// The letters of DeepSeek LLM's own pattern (upper, lower and title case of an older Unicode).
constexpr auto kCased = std::to_array<Range>({
    {0x41, 0x5a},       {0x61, 0x7a},       {0xb5, 0xb5},       {0xc0, 0xd6},
    {0xd8, 0xf6},       {0xf8, 0x1ba},      {0x1bc, 0x1bf},     {0x1c4, 0x293},
    {0x295, 0x2af},     {0x370, 0x373},     {0x376, 0x377},     {0x37b, 0x37d},
    {0x37f, 0x37f},     {0x386, 0x386},     {0x388, 0x38a},     {0x38c, 0x38c},
    {0x38e, 0x3a1},     {0x3a3, 0x3f5},     {0x3f7, 0x481},     {0x48a, 0x52f},
    {0x531, 0x556},     {0x10a0, 0x10c5},   {0x13a0, 0x13f5},   {0x13f8, 0x13fd},
    {0x1c90, 0x1cba},   {0x1cbd, 0x1cbf},   {0x1d00, 0x1d2b},   {0x1d6b, 0x1d77},
    {0x1d79, 0x1d9a},   {0x1e00, 0x1f15},   {0x1f18, 0x1f1d},   {0x1f20, 0x1f45},
    {0x1f48, 0x1f4d},   {0x1f50, 0x1f57},   {0x1f59, 0x1f59},   {0x1f5b, 0x1f5b},
    {0x1f5d, 0x1f5d},   {0x1f5f, 0x1f7d},   {0x1f80, 0x1fb4},   {0x1fb6, 0x1fbc},
    {0x1fbe, 0x1fbe},   {0x1fc2, 0x1fc4},   {0x1fc6, 0x1fcc},   {0x1fd0, 0x1fd3},
    {0x1fd6, 0x1fdb},   {0x1fe0, 0x1fec},   {0x1ff2, 0x1ff4},   {0x1ff6, 0x1ffc},
    {0x2102, 0x2102},   {0x2107, 0x2107},   {0x210a, 0x2113},   {0x2115, 0x2115},
    {0x2119, 0x211d},   {0x2124, 0x2124},   {0x2126, 0x2126},   {0x2128, 0x2128},
    {0x212a, 0x212d},   {0x212f, 0x2134},   {0x2139, 0x2139},   {0x213c, 0x213f},
    {0x2145, 0x2149},   {0x214e, 0x214e},   {0x2183, 0x2184},   {0x2c00, 0x2c7b},
    {0x2c7e, 0x2ce4},   {0x2ceb, 0x2cee},   {0x2cf2, 0x2cf3},   {0xa640, 0xa66d},
    {0xa680, 0xa69b},   {0xa722, 0xa76f},   {0xa771, 0xa787},   {0xa78b, 0xa78e},
    {0xab70, 0xabbf},   {0xfb00, 0xfb06},   {0xfb13, 0xfb17},   {0xff21, 0xff3a},
    {0xff41, 0xff5a},   {0x10400, 0x1044f}, {0x104b0, 0x104d3}, {0x104d8, 0x104fb},
    {0x10c80, 0x10cb2}, {0x10cc0, 0x10cf2}, {0x118a0, 0x118df}, {0x1e900, 0x1e943},
});

bool is_cased(char32_t c) {
    const auto it = std::lower_bound(kCased.begin(), kCased.end(), c,
                                     [](const Range& r, char32_t x) { return r.last < x; });
    return it != kCased.end() && it->first <= c;
}

bool is_wide_punctuation(char32_t c) {
    return (c >= '!' && c <= '/') || (c >= ':' && c <= '~') || (c >= 0xFF01 && c <= 0xFF0F) ||
           (c >= 0xFF1A && c <= 0xFF5E) || (c >= 0x2018 && c <= 0x201F) ||
           (c >= 0x3000 && c <= 0x3002);
}

bool is_east_asian(char32_t c) {
    return (c >= 0x800 && c <= 0x9FA5) || (c >= 0xAC00 && c <= 0xD7FF);
}

template <typename Accept>
std::size_t run_of(const Piece& p, std::size_t at, Accept accept) {
    while (at < p.end && accept(p.code(at))) ++at;
    return at;
}

// \s?[set]+ where the set may itself hold spaces.
template <typename Accept>
std::size_t match_led_by_space(const Piece& p, std::size_t at, Accept accept) {
    if (p.is(at, RuneClass::kSpace) && at + 1 < p.end && accept(p.code(at + 1))) {
        return run_of(p, at + 1, accept);
    }
    return run_of(p, at, accept);
}

// \s?[class]+
std::size_t match_class(const Piece& p, std::size_t at, RuneClass kind) {
    const std::size_t first = at + (p.is(at, RuneClass::kSpace) ? 1 : 0);
    return p.is(first, kind) ? p.run(first, kind) : at;
}

std::size_t match_punctuation(const Piece& p, std::size_t at, bool tick) {
    const std::string_view also = tick ? "$+<=>^~|`" : "$+<=>^~|";
    while (p.is(at, RuneClass::kPunctuation) ||
           (p.code(at) < 0x80 && also.find(static_cast<char>(p.code(at))) != also.npos)) {
        ++at;
    }
    return at;
}

// \s+$. A run that does not reach the end is looked at only once, from its first rune.
std::size_t match_trailing_space(const Piece& p, std::size_t at) {
    if (at > p.begin && p.is(at - 1, RuneClass::kSpace)) return at;
    const std::size_t end = p.run(at, RuneClass::kSpace);
    return end == p.end ? end : at;
}

// Where the match of `pass` that begins at `at` ends; `at` itself if none does.
std::size_t match(Pass pass, const Piece& p, std::size_t at) {
    const auto is_digit = [&](std::size_t i) { return p.code(i) >= '0' && p.code(i) <= '9'; };
    switch (pass) {
        case Pass::kGpt2: return match_gpt2(p, at);
        case Pass::kLlama3: return match_llama3(p, at, 3);
        case Pass::kQwen2: return match_llama3(p, at, 1);
        case Pass::kEachNumber: return at + (p.is(at, RuneClass::kNumber) ? 1 : 0);
        case Pass::kNumberRuns: return p.run(at, RuneClass::kNumber);
        case Pass::kDigitTriples:
            return is_digit(at) && is_digit(at + 1) && is_digit(at + 2) ? at + 3 : at;
        case Pass::kPunctuation: return match_punctuation(p, at, false);
        case Pass::kPunctuationTick: return match_punctuation(p, at, true);
        case Pass::kNewlines: return at + (p.is_newline(at) ? 1 : 0);
        case Pass::kCasedWords: return match_led_by_space(p, at, is_cased);
        case Pass::kWidePunctuation: return match_led_by_space(p, at, is_wide_punctuation);
        case Pass::kSpacedLetters: return match_class(p, at, RuneClass::kLetter);
        case Pass::kSpacedMarks: return match_class(p, at, RuneClass::kPunctuation);
        case Pass::kTrailingSpace: return match_trailing_space(p, at);
        case Pass::kEastAsian: return run_of(p, at, is_east_asian);
    }
    return at;
}

// Appends the ends of the pieces into which `pass` cuts `p`.
void cut(Pass pass, const Piece& p, std::vector<std::uint32_t>& ends) {
    std::size_t at = p.begin;
    std::size_t cut_at = p.begin;
    while (at < p.end) {
        const std::size_t end = match(pass, p, at);
        if (end == at) {
            ++at;
            continue;
        }
        if (at > cut_at) ends.push_back(static_cast<std::uint32_t>(at));
        ends.push_back(static_cast<std::uint32_t>(end));
        at = cut_at = end;
    }
    if (cut_at < p.end) ends.push_back(static_cast<std::uint32_t>(p.end));
}

}  // namespace

Result<PreTokenizer> PreTokenizer::make(const VocabularySpec& spec) {
    const bool by_pattern = !spec.pre_tokenizer_regex.empty();
    const std::vector<Rule>& rules = by_pattern ? rules_by_pattern() : rules_by_name();
    const std::string& key = by_pattern ? spec.pre_tokenizer_regex : spec.pre_tokenizer;
    const auto it =
        std::find_if(rules.begin(), rules.end(), [&](const Rule& rule) { return rule.key == key; });
    if (it == rules.end()) {
        return make_error(ErrorCode::kUnsupported, std::string("pre-tokenizer ") +
                                                       (by_pattern ? "pattern \"" : "\"") + key +
                                                       "\" is not one that Hearth knows");
    }
    PreTokenizer made;
    made.passes_ = it->passes;
    if (spec.split_digits && made.passes_.front() != Pass::kEachNumber) {
        made.passes_.insert(made.passes_.begin(), Pass::kEachNumber);
    }
    return made;
}

void PreTokenizer::split(std::string_view text, std::vector<std::uint32_t>& ends) const {
    const std::vector<Rune> runes = runes_of(text);
    ends.clear();
    if (text.empty()) return;
    ends.push_back(static_cast<std::uint32_t>(runes.size() - 1));
    std::vector<std::uint32_t> next;
    for (const Pass pass : passes_) {
        next.clear();
        std::size_t begin = 0;
        for (const std::uint32_t end : ends) {
            cut(pass, {runes, begin, end}, next);
            begin = end;
        }
        ends.swap(next);
    }
    for (std::uint32_t& end : ends) end = runes[end].begin;
}

}  // namespace hearth::engine
