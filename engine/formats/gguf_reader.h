// GgufFile: the header of a GGUF file (versions 2 and 3, little-endian), checked before it is used.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/result.h"
#include "engine/formats/tensor.h"

namespace hearth::engine {

// The numbers of the format (gguf_metadata_value_type).
enum class GgufType : std::uint32_t {
    kU8 = 0,
    kI8 = 1,
    kU16 = 2,
    kI16 = 3,
    kU32 = 4,
    kI32 = 5,
    kF32 = 6,
    kBool = 7,
    kString = 8,
    kArray = 9,
    kU64 = 10,
    kI64 = 11,
    kF64 = 12,
};

// One metadata value, still as bytes of the file. A scalar or a string is an array of one.
struct GgufValue {
    GgufType type = GgufType::kU8;  // Of the elements.
    bool is_array = false;
    std::uint64_t count = 1;
    std::span<const std::byte> bytes;  // All elements; strings each with their length in front.
};

// Views into memory that the caller keeps. After parse() every value and tensor lies inside that
// memory, every type is known, and no name occurs twice. Immutable; any thread.
// Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
class GgufFile {
  public:
    // `file` is the name for messages. kCorrupt: wrong magic, truncated, sizes that contradict each
    // other. kUnsupported: version, tensor type. kTooLarge: absurd counts.
    static Result<GgufFile> parse(std::span<const std::byte> bytes, std::string file);

    const GgufValue* find(std::string_view key) const;  // Null if there is no such key.
    const TensorTable& tensors() const { return tensors_; }
    const std::string& file() const { return file_; }

  private:
    friend class GgufParser;
    std::string file_;
    std::map<std::string, GgufValue, std::less<>> values_;
    TensorTable tensors_;
};

// Reads typed metadata. The first failure is kept and later reads return their fallback, so that a
// caller reads all it wants and asks once. Integers of any width are accepted where one is wanted.
class GgufFields {
  public:
    explicit GgufFields(const GgufFile& file) : file_(file) {}

    bool has(std::string_view key) const { return file_.find(key) != nullptr; }

    // In [0, 2^31). An array of equal numbers (a size stated per layer) reads as that number.
    std::int32_t size(const std::string& key);  // The key is required.
    std::int32_t size(const std::string& key, std::int32_t fallback);
    float number(const std::string& key);  // Finite; required.
    float number(const std::string& key, float fallback);
    bool flag(const std::string& key, bool fallback);
    std::string text(const std::string& key, const std::string& fallback);
    // -1 if absent or the format's "none", 2^32 - 1.
    std::int32_t token(const std::string& key, std::int32_t fallback);

    // Empty if absent.
    std::vector<std::int32_t> integers(const std::string& key);
    std::vector<float> numbers(const std::string& key);
    std::vector<std::string> texts(const std::string& key);

    void fail(ErrorCode code, const std::string& what);  // Kept only if it is the first.
    bool failed() const { return error_.has_value(); }
    const Error& error() const { return *error_; }

  private:
    const GgufValue* require(const std::string& key);
    const GgufValue* expect(const std::string& key, bool array, const char* what);
    bool integer(const std::string& key, const GgufValue& value, std::uint64_t index,
                 std::int64_t& out);

    const GgufFile& file_;
    std::optional<Error> error_;
};

}  // namespace hearth::engine
