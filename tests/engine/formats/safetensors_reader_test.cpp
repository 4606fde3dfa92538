// read_safetensors and open_safetensors: good files, a table of bad ones, cut ones, and shards.
#include "engine/formats/safetensors_reader.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <string>

#include "tests/engine/formats/scratch_folder.h"

namespace hearth::engine {
namespace {

std::string file_of(const std::string& header, std::size_t data_bytes) {
    const std::uint64_t size = header.size();
    std::string out(reinterpret_cast<const char*>(&size), sizeof size);
    return out + header + std::string(data_bytes, '\x3f');
}

Result<void> read(const std::string& bytes, TensorTable& out) {
    return read_safetensors(std::as_bytes(std::span(bytes)), "x.safetensors", out);
}

const std::string kTwo = R"({"__metadata__":{"format":"pt"},)"
                         R"("a":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]},)"
                         R"("b":{"dtype":"BF16","shape":[4],"data_offsets":[24,32]}})";

TEST(Safetensors, ReadsTensors) {
    TensorTable tensors;
    const std::string bytes = file_of(kTwo, 32);
    const auto result = read(bytes, tensors);
    ASSERT_TRUE(result.ok()) << result.error().message;
    ASSERT_EQ(tensors.size(), 2u);
    EXPECT_EQ(tensors.at("a").type, TensorType::kF32);
    EXPECT_EQ(tensors.at("a").shape, (std::vector<std::int64_t>{2, 3}));
    EXPECT_EQ(tensors.at("b").type, TensorType::kBF16);
    EXPECT_EQ(tensors.at("b").bytes.size(), 8u);
    EXPECT_EQ(reinterpret_cast<const char*>(tensors.at("b").bytes.data()),
              bytes.data() + 8 + kTwo.size() + 24);
}

TEST(Safetensors, BadFilesAreErrorsThatSayWhat) {
    constexpr auto kBad = ErrorCode::kCorrupt;
    const auto tensor = [](const std::string& entry) { return "{\"a\":" + entry + "}"; };
    struct {
        std::string bytes;
        ErrorCode code;
        const char* message;
    } const cases[] = {
        {"", kBad, "truncated: no header length"},
        {std::string(8, '\xff'), ErrorCode::kTooLarge, "a header of 18446744073709551615 bytes"},
        {file_of("{}", 0).substr(0, 9), kBad, "truncated: the header runs past the end"},
        {file_of("nonsense", 0), kBad, "not valid JSON"},
        {file_of("[1]", 0), kBad, "not a JSON object"},
        {file_of(std::string(100, '['), 0), kBad, "not valid JSON"},
        {file_of(tensor("7"), 0), kBad, "tensor 'a' is not described"},
        {file_of(tensor(R"({"dtype":"I64","shape":[1],"data_offsets":[0,8]})"), 8),
         ErrorCode::kUnsupported, "tensor 'a' has dtype 'I64' (supported: F32, F16, BF16)"},
        {file_of(tensor(R"({"dtype":"F32","shape":[1]})"), 4), kBad, "no valid shape"},
        {file_of(tensor(R"({"dtype":"F32","shape":[-1],"data_offsets":[0,4]})"), 4), kBad,
         "no valid shape"},
        {file_of(tensor(R"({"dtype":"F32","shape":[1],"data_offsets":[4,0]})"), 4), kBad,
         "no valid shape"},
        {file_of(tensor(R"({"dtype":"F32","shape":[0],"data_offsets":[0,0]})"), 0), kBad,
         "shape [0] but 0 bytes"},
        {file_of(tensor(R"({"dtype":"F32","shape":[2],"data_offsets":[0,4]})"), 4), kBad,
         "shape [2] but 4 bytes"},
        {file_of(tensor(R"({"dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,0]})"),
                 0),
         kBad, "shape [4611686018427387904, 4] but 0 bytes"},
        {file_of(tensor(R"({"dtype":"F32","shape":[2],"data_offsets":[0,8]})"), 4), kBad,
         "truncated: tensor 'a' runs past the end"},
        {file_of(kTwo, 31), kBad, "truncated: tensor 'b'"},
        {file_of(kTwo, 33), kBad, "do not cover the whole file"},
        {file_of(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},)"
                 R"("b":{"dtype":"F32","shape":[1],"data_offsets":[2,6]}})",
                 6),
         kBad, "gap or overlap"},
        // Of a name that occurs twice JSON keeps the last; the first one's bytes are then a gap.
        {file_of(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},)"
                 R"("a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}})",
                 8),
         kBad, "gap or overlap"},
    };
    for (const auto& bad : cases) {
        TensorTable tensors;
        const auto result = read(bad.bytes, tensors);
        ASSERT_FALSE(result.ok()) << bad.message;
        EXPECT_EQ(result.error().code, bad.code) << result.error().message;
        EXPECT_NE(result.error().message.find(bad.message), std::string::npos)
            << result.error().message << " should contain: " << bad.message;
    }
}

TEST(Safetensors, EveryPrefixIsAnError) {
    const std::string bytes = file_of(kTwo, 32);
    for (std::size_t size = 0; size < bytes.size(); ++size) {
        TensorTable tensors;
        const std::string cut(bytes, 0, size);
        EXPECT_FALSE(read(cut, tensors).ok()) << size;
    }
}

TEST(Safetensors, ShardsAreFoundByTheIndex) {
    const ScratchFolder folder;
    const auto missing = open_safetensors(folder.path());
    ASSERT_FALSE(missing.ok());
    EXPECT_EQ(missing.error().code, ErrorCode::kNotFound);

    const std::string one = R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})";
    const std::string two = R"({"b":{"dtype":"F16","shape":[2],"data_offsets":[0,4]}})";
    folder.write("m-1.safetensors", file_of(one, 4));
    folder.write("m-2.safetensors", file_of(two, 4));
    const char* index = "model.safetensors.index.json";
    folder.write(index, R"({"weight_map":{"a":"m-1.safetensors","b":"m-2.safetensors"}})");
    const auto opened = open_safetensors(folder.path());
    ASSERT_TRUE(opened.ok()) << opened.error().message;
    EXPECT_EQ(opened->files.size(), 2u);
    EXPECT_TRUE(opened->tensors.contains("a"));
    EXPECT_EQ(opened->tensors.at("b").shape, (std::vector<std::int64_t>{2}));

    folder.write("m-2.safetensors", file_of(one, 4));
    const auto twice = open_safetensors(folder.path());
    ASSERT_FALSE(twice.ok());
    EXPECT_NE(twice.error().message.find("tensor 'a' occurs twice"), std::string::npos);

    for (const char* escape : {"../m-1.safetensors", "/etc/passwd", "", ".hidden"}) {
        folder.write(index, std::string(R"({"weight_map":{"a":")") + escape + "\"}}");
        const auto refused = open_safetensors(folder.path());
        ASSERT_FALSE(refused.ok()) << escape;
        EXPECT_EQ(refused.error().code, ErrorCode::kCorrupt) << refused.error().message;
    }
    folder.write(index, R"({"weight_map":{"a":"m-3.safetensors"}})");
    EXPECT_EQ(open_safetensors(folder.path()).error().code, ErrorCode::kNotFound);
    folder.write(index, "{}");
    EXPECT_EQ(open_safetensors(folder.path()).error().code, ErrorCode::kCorrupt);
}

}  // namespace
}  // namespace hearth::engine
