// GgufFile::parse: what it reads, and a table of corrupted headers with the error each must give.
#include "engine/formats/gguf_reader.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <cstring>
#include <functional>
#include <string>

#include "tests/engine/formats/small_gguf.h"

namespace hearth::engine {
namespace {

std::span<const std::byte> span_of(const std::string& bytes) {
    return std::as_bytes(std::span(bytes));
}

template <typename T>
void poke(std::string& bytes, std::size_t at, T value) {
    ASSERT_LE(at + sizeof value, bytes.size());
    std::memcpy(bytes.data() + at, &value, sizeof value);
}

// Offset of what follows the text `name`, which must occur once.
std::size_t after(const std::string& bytes, const std::string& name) {
    const auto at = bytes.find(name);
    EXPECT_NE(at, std::string::npos) << name;
    EXPECT_EQ(bytes.find(name, at + 1), std::string::npos) << name;
    return at + name.size();
}

TEST(GgufReader, ReadsValuesOfAllWidths) {
    std::string bytes = "GGUF";
    const auto put = [&bytes](auto value) {
        bytes.append(reinterpret_cast<const char*>(&value), sizeof value);
    };
    const auto key = [&](const std::string& name, GgufType type) {
        put(std::uint64_t{name.size()});
        bytes += name;
        put(type);
    };
    put(std::uint32_t{2});
    put(std::uint64_t{0});
    put(std::uint64_t{8});
    key("u8", GgufType::kU8), put(std::uint8_t{200});
    key("i16", GgufType::kI16), put(std::int16_t{-2});
    key("u64", GgufType::kU64), put(std::uint64_t{1} << 60);
    key("i64", GgufType::kI64), put(std::int64_t{77});
    key("f64", GgufType::kF64), put(2.5);
    key("flag", GgufType::kBool), put(std::uint8_t{1});
    key("same", GgufType::kArray), put(GgufType::kU16), put(std::uint64_t{2}),
        put(std::uint16_t{9}), put(std::uint16_t{9});
    key("other", GgufType::kArray), put(GgufType::kI8), put(std::uint64_t{2}), put(std::int8_t{-1}),
        put(std::int8_t{3});

    const auto file = GgufFile::parse(span_of(bytes), "x.gguf");
    ASSERT_TRUE(file.ok()) << file.error().message;
    GgufFields fields(*file);
    EXPECT_EQ(fields.size("u8"), 200);
    EXPECT_EQ(fields.size("i64"), 77);
    EXPECT_EQ(fields.number("f64"), 2.5f);
    EXPECT_EQ(fields.number("i16"), -2.0f);
    EXPECT_TRUE(fields.flag("flag", false));
    EXPECT_EQ(fields.size("same"), 9) << "an array of equal sizes is that size";
    EXPECT_EQ(fields.integers("other"), (std::vector<std::int32_t>{-1, 3}));
    EXPECT_EQ(fields.size("absent", 5), 5);
    ASSERT_FALSE(fields.failed()) << fields.error().message;

    EXPECT_EQ(fields.size("u64"), 0);
    ASSERT_TRUE(fields.failed());
    EXPECT_EQ(fields.error().code, ErrorCode::kTooLarge);
    EXPECT_EQ(fields.error().message, "x.gguf: key 'u64' is out of range");
    fields.size("absent");
    EXPECT_EQ(fields.error().message, "x.gguf: key 'u64' is out of range") << "the first stays";

    GgufFields again(*file);
    again.size("other");
    EXPECT_EQ(again.error().code, ErrorCode::kUnsupported);
    GgufFields negative(*file);
    negative.size("i16");
    EXPECT_EQ(negative.error().code, ErrorCode::kCorrupt);
    GgufFields missing(*file);
    missing.size("absent");
    EXPECT_EQ(missing.error().message, "x.gguf: key 'absent' is missing");
}

TEST(GgufReader, TensorsAreViewsOutermostDimensionFirst) {
    const SmallGguf model;
    const std::string bytes = model.bytes();
    const auto file = GgufFile::parse(span_of(bytes), "x.gguf");
    ASSERT_TRUE(file.ok()) << file.error().message;
    EXPECT_EQ(file->tensors().size(), model.tensors.size());
    const TensorView& tensor = file->tensors().at("blk.1.ffn_down.weight");
    EXPECT_EQ(tensor.shape, (std::vector<std::int64_t>{8, 12}));
    EXPECT_EQ(tensor.bytes.size(), 8u * 12 * 4);
    const auto start = reinterpret_cast<const char*>(tensor.bytes.data()) - bytes.data();
    EXPECT_EQ(start % 32, 0);
    EXPECT_GE(static_cast<std::size_t>(start), model.header().size());
}

struct Corruption {
    const char* what;  // Also what the message must contain.
    ErrorCode code;
    std::function<void(std::string&)> change;
};

const std::vector<Corruption>& header_corruptions() {
    constexpr auto kBad = ErrorCode::kCorrupt;
    constexpr auto kOther = ErrorCode::kUnsupported;
    constexpr auto kLarge = ErrorCode::kTooLarge;
    static const std::vector<Corruption> cases = {
        {"wrong magic", kBad, [](std::string& b) { b[0] = 'g'; }},
        {"truncated: the magic", kBad, [](std::string& b) { b.resize(3); }},
        {"truncated: the magic", kBad, [](std::string& b) { b.clear(); }},
        {"version 1", kOther, [](std::string& b) { poke<std::uint32_t>(b, 4, 1); }},
        {"version 4", kOther, [](std::string& b) { poke<std::uint32_t>(b, 4, 4); }},
        {"big-endian", kOther, [](std::string& b) { poke<std::uint32_t>(b, 4, 0x03000000); }},
        {"1152921504606846976 tensors", kLarge,
         [](std::string& b) { poke<std::uint64_t>(b, 8, std::uint64_t{1} << 60); }},
        {"18446744073709551615 metadata values", kLarge,
         [](std::string& b) { poke<std::uint64_t>(b, 16, ~std::uint64_t{0}); }},
        {"metadata key has a length", kBad,
         [](std::string& b) { poke<std::uint64_t>(b, 24, std::uint64_t{1} << 60); }},
        {"a metadata key", kBad, [](std::string& b) { poke<std::uint64_t>(b, 24, 65'535); }},
        {"key 'general.name'", kBad,
         [](std::string& b) {
             poke<std::uint64_t>(b, after(b, "general.name") + 4, ~std::uint64_t{0} - 7);
         }},
        {"key 'llama.block_count' has the unknown type 13", kBad,
         [](std::string& b) { poke<std::uint32_t>(b, after(b, "llama.block_count"), 13); }},
        {"key 'tokenizer.ggml.scores' counts 1152921504606846976", kBad,
         [](std::string& b) {
             poke<std::uint64_t>(b, after(b, "tokenizer.ggml.scores") + 8, std::uint64_t{1} << 60);
         }},
        {"key 'tokenizer.ggml.tokens'", kBad,
         [](std::string& b) {
             poke<std::uint64_t>(b, after(b, "tokenizer.ggml.tokens") + 8, std::uint64_t{1} << 60);
         }},
        {"key 'tokenizer.ggml.scores' is an array of arrays", kOther,
         [](std::string& b) { poke<std::uint32_t>(b, after(b, "tokenizer.ggml.scores") + 4, 9); }},
        {"key 'tokenizer.ggml.scores' has the unknown type 99", kBad,
         [](std::string& b) { poke<std::uint32_t>(b, after(b, "tokenizer.ggml.scores") + 4, 99); }},
        {"key 'llama.block_count' occurs twice", kBad,
         [](std::string& b) {
             // The same length, so that only the name changes.
             b.replace(b.find("llama.vocab_sizes"), 17, "llama.block_count");
         }},
    };
    return cases;
}

const std::vector<Corruption>& tensor_corruptions() {
    constexpr auto kBad = ErrorCode::kCorrupt;
    constexpr auto kOther = ErrorCode::kUnsupported;
    // After a tensor's name: u32 dimensions | u64 each | u32 type | u64 offset.
    static const std::vector<Corruption> cases = {
        {"tensor 'token_embd.weight' has 5 dimensions", kBad,
         [](std::string& b) { poke<std::uint32_t>(b, after(b, "token_embd.weight"), 5); }},
        {"tensor 'token_embd.weight' has 0 dimensions", kBad,
         [](std::string& b) { poke<std::uint32_t>(b, after(b, "token_embd.weight"), 0); }},
        {"tensor 'token_embd.weight' has 4294967295 dimensions", kBad,
         [](std::string& b) { poke<std::uint32_t>(b, after(b, "token_embd.weight"), ~0u); }},
        {"impossible shape [6, 0]", kBad,
         [](std::string& b) { poke<std::uint64_t>(b, after(b, "token_embd.weight") + 4, 0); }},
        {"impossible shape [6, -1]", kBad,
         [](std::string& b) {
             poke<std::uint64_t>(b, after(b, "token_embd.weight") + 4, ~std::uint64_t{0});
         }},
        {"impossible shape [4611686018427387904, 4611686018427387904]", kBad,
         [](std::string& b) {
             const auto at = after(b, "token_embd.weight") + 4;
             poke<std::uint64_t>(b, at, std::uint64_t{1} << 62);
             poke<std::uint64_t>(b, at + 8, std::uint64_t{1} << 62);
         }},
        {"tensor 'token_embd.weight' runs past the end", kBad,
         [](std::string& b) {
             poke<std::uint64_t>(b, after(b, "token_embd.weight") + 12, 1'000'000);
         }},
        {"tensor 'token_embd.weight' has type number 2048", kOther,
         [](std::string& b) { poke<std::uint32_t>(b, after(b, "token_embd.weight") + 20, 2048); }},
        {"impossible shape [6, 8] for type Q8_0", kBad,
         [](std::string& b) { poke<std::uint32_t>(b, after(b, "token_embd.weight") + 20, 8); }},
        {"tensor 'token_embd.weight' lies at an unaligned offset", kBad,
         [](std::string& b) { poke<std::uint64_t>(b, after(b, "token_embd.weight") + 24, 4); }},
        {"tensor 'token_embd.weight' runs past the end", kBad,
         [](std::string& b) {
             poke<std::uint64_t>(b, after(b, "token_embd.weight") + 24, ~std::uint64_t{31});
         }},
        {"overlaps another tensor", kBad,
         [](std::string& b) { poke<std::uint64_t>(b, after(b, "token_embd.weight") + 24, 32); }},
        {"tensor 'blk.0.attn_q.weight' occurs twice", kBad,
         [](std::string& b) { b.replace(b.find("blk.0.attn_k"), 12, "blk.0.attn_q"); }},
        {"a tensor name has a length of 65", kBad,
         [](std::string& b) {
             const auto at = b.find("token_embd.weight");
             ASSERT_NE(at, std::string::npos);
             poke<std::uint64_t>(b, at - 8, 65);
         }},
    };
    return cases;
}

class GgufCorruption : public testing::TestWithParam<Corruption> {};

TEST_P(GgufCorruption, IsAnErrorThatSaysWhat) {
    SmallGguf model;
    model.set("llama.vocab_sizes", 6u);  // An unknown key is allowed; one case renames it.
    std::string bytes = model.bytes();
    ASSERT_TRUE(GgufFile::parse(span_of(bytes), "x.gguf").ok());
    GetParam().change(bytes);
    const std::string exact(bytes);  // No spare capacity that could hide a read past the end.
    const auto file = GgufFile::parse(span_of(exact), "x.gguf");
    ASSERT_FALSE(file.ok()) << GetParam().what;
    EXPECT_EQ(file.error().code, GetParam().code) << file.error().message;
    EXPECT_NE(file.error().message.find(GetParam().what), std::string::npos)
        << file.error().message << " should contain: " << GetParam().what;
    EXPECT_EQ(file.error().message.rfind("x.gguf: ", 0), 0u) << "names the file";
}
INSTANTIATE_TEST_SUITE_P(Header, GgufCorruption, testing::ValuesIn(header_corruptions()));
INSTANTIATE_TEST_SUITE_P(Tensors, GgufCorruption, testing::ValuesIn(tensor_corruptions()));

TEST(GgufReader, AlignmentMustBeAPowerOfTwo) {
    for (const std::uint32_t alignment : {0u, 3u, 33u, 1u << 21}) {
        const std::string bytes = SmallGguf().set("general.alignment", alignment).bytes();
        const auto file = GgufFile::parse(span_of(bytes), "x.gguf");
        ASSERT_FALSE(file.ok()) << alignment;
        EXPECT_EQ(file.error().code, ErrorCode::kCorrupt);
        EXPECT_NE(file.error().message.find("general.alignment"), std::string::npos);
    }
    // The writer aligns to 32, which satisfies 8 too.
    const std::string fine = SmallGguf().set("general.alignment", 8u).bytes();
    EXPECT_TRUE(GgufFile::parse(span_of(fine), "x.gguf").ok());
    const std::string text = SmallGguf().set("general.alignment", "32").bytes();
    EXPECT_FALSE(GgufFile::parse(span_of(text), "x.gguf").ok());
}

TEST(GgufReader, NamesInMessagesAreMadePrintable) {
    std::string bytes = SmallGguf().bytes();
    const auto at = bytes.find("token_embd.weight");
    bytes.replace(at, 5, "\n\x01\x7f\xff\"");
    poke<std::uint32_t>(bytes, at + 17, 9);
    const auto file = GgufFile::parse(span_of(bytes), "x.gguf");
    ASSERT_FALSE(file.ok());
    EXPECT_EQ(file.error().message, "x.gguf: tensor '\?\?\?\?\"_embd.weight' has 9 dimensions");
}

}  // namespace
}  // namespace hearth::engine
