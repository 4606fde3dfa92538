// Parses GGUF headers from untrusted bytes. Every length is compared with what is left of the file
// before it is used, by subtraction or division, so nothing overflows and nothing big is allocated.
#include "engine/formats/gguf_reader.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <optional>
#include <utility>

#include "engine/formats/fault.h"

namespace hearth::engine {

namespace {

constexpr std::uint64_t kValuesMax = 65'536;
constexpr std::uint64_t kTensorsMax = 65'536;
constexpr std::uint64_t kKeyBytesMax = 65'535;     // The format's own limit.
constexpr std::uint64_t kTensorNameBytesMax = 64;  // The format's own limit.
constexpr std::uint64_t kDimensionsMax = 4;        // The format's own limit.
constexpr std::uint32_t kAlignmentDefault = 32;
constexpr std::uint32_t kAlignmentMax = 1u << 20;

// Bytes of one element; 0 for strings and arrays, which have no fixed size, and unknown numbers.
std::uint64_t fixed_bytes(GgufType type) {
    switch (type) {
        case GgufType::kU8:
        case GgufType::kI8:
        case GgufType::kBool: return 1;
        case GgufType::kU16:
        case GgufType::kI16: return 2;
        case GgufType::kU32:
        case GgufType::kI32:
        case GgufType::kF32: return 4;
        case GgufType::kU64:
        case GgufType::kI64:
        case GgufType::kF64: return 8;
        case GgufType::kString:
        case GgufType::kArray: return 0;
    }
    return 0;
}

}  // namespace

// One pass over the header. The first failure sticks: later reads return zeros and take nothing.
class GgufParser {
  public:
    GgufParser(std::span<const std::byte> bytes, std::string file) : bytes_(bytes) {
        out_.file_ = std::move(file);
    }

    Result<GgufFile> run() {
        const auto counts = read_preamble();
        for (std::uint64_t i = 0; i < counts.values && !error_; ++i) read_entry();
        const std::uint32_t alignment = read_alignment();
        std::vector<Placed> placed;
        for (std::uint64_t i = 0; i < counts.tensors && !error_; ++i)
            read_tensor(alignment, placed);
        if (!error_) place_tensors(alignment, placed);
        if (error_) return *error_;
        return std::move(out_);
    }

  private:
    struct Counts {
        std::uint64_t tensors = 0;
        std::uint64_t values = 0;
    };
    struct Placed {  // A tensor whose bytes are known only once the header's end is.
        std::string name;
        TensorView view;
        std::uint64_t offset = 0;
        std::uint64_t size = 0;
    };

    std::uint64_t left() const { return bytes_.size() - at_; }

    void fail(Error error) {
        if (!error_) error_ = std::move(error);
    }
    void fail_corrupt(const std::string& what) { fail(corrupt(out_.file_, what)); }

    std::span<const std::byte> take(std::uint64_t size, const std::string& what) {
        if (!error_ && size > left())
            fail_corrupt("truncated: " + what + " needs " + std::to_string(size) + " bytes at " +
                         std::to_string(at_) + ", the file has " + std::to_string(bytes_.size()));
        if (error_) return {};
        const auto out = bytes_.subspan(at_, size);
        at_ += size;
        return out;
    }

    template <typename T>
    T read(const std::string& what) {
        T value{};
        const auto from = take(sizeof value, what);
        if (!error_) std::memcpy(&value, from.data(), sizeof value);
        return value;
    }

    std::string read_name(std::uint64_t max, const std::string& what) {
        const auto size = read<std::uint64_t>("the length of " + what);
        if (size > max)
            fail_corrupt(what + " has a length of " + std::to_string(size) + ", the limit is " +
                         std::to_string(max));
        const auto from = take(size, what);
        return std::string(reinterpret_cast<const char*>(from.data()), from.size());
    }

    Counts read_preamble() {
        const auto magic = take(4, "the magic");
        if (!error_ && std::memcmp(magic.data(), "GGUF", 4) != 0)
            fail_corrupt("not a GGUF file (wrong magic)");
        const auto version = read<std::uint32_t>("the version");
        if (version == 0x02000000u || version == 0x03000000u)
            fail(unsupported(out_.file_, "GGUF in big-endian byte order"));
        if (!error_ && version != 2 && version != 3)
            fail(unsupported(out_.file_,
                             "GGUF version " + std::to_string(version) + " (supported: 2, 3)"));
        Counts counts;
        counts.tensors = read<std::uint64_t>("the tensor count");
        counts.values = read<std::uint64_t>("the metadata count");
        check_count("tensors", counts.tensors, kTensorsMax);
        check_count("metadata values", counts.values, kValuesMax);
        return counts;
    }

    void check_count(const char* what, std::uint64_t count, std::uint64_t max) {
        if (count <= max) return;
        fail(too_large(out_.file_, "the header counts " + std::to_string(count) + " " + what +
                                       ", the limit is " + std::to_string(max)));
    }

    void read_entry() {
        const std::string key = read_name(kKeyBytesMax, "a metadata key");
        const std::string what = "key " + in_quotes(key);
        GgufValue value;
        value.type = static_cast<GgufType>(read<std::uint32_t>(what));
        if (value.type == GgufType::kArray) {
            value.is_array = true;
            value.type = static_cast<GgufType>(read<std::uint32_t>(what));
            value.count = read<std::uint64_t>(what);
        }
        value.bytes = take_elements(value, what);
        if (!error_ && !out_.values_.emplace(key, value).second)
            fail_corrupt(what + " occurs twice");
    }

    std::span<const std::byte> take_elements(const GgufValue& value, const std::string& what) {
        if (error_) return {};
        if (value.type == GgufType::kArray) {
            fail(unsupported(out_.file_, what + " is an array of arrays"));
            return {};
        }
        const std::uint64_t start = at_;
        if (value.type == GgufType::kString) {
            // Each string takes at least its length field, so a false count ends at the file's end.
            for (std::uint64_t i = 0; i < value.count && !error_; ++i)
                take(read<std::uint64_t>(what), what);
            return error_ ? std::span<const std::byte>() : bytes_.subspan(start, at_ - start);
        }
        const std::uint64_t each = fixed_bytes(value.type);
        if (each == 0) {
            fail_corrupt(what + " has the unknown type " +
                         std::to_string(static_cast<std::uint32_t>(value.type)));
        } else if (value.count > left() / each) {
            fail_corrupt("truncated: " + what + " counts " + std::to_string(value.count) +
                         " elements, more than the file holds");
        }
        return error_ ? std::span<const std::byte>() : take(value.count * each, what);
    }

    std::uint32_t read_alignment() {
        const GgufValue* value = error_ ? nullptr : out_.find("general.alignment");
        if (value == nullptr) return kAlignmentDefault;
        std::uint32_t alignment = 0;
        if (value->type == GgufType::kU32 && !value->is_array)
            std::memcpy(&alignment, value->bytes.data(), sizeof alignment);
        if (!std::has_single_bit(alignment) || alignment > kAlignmentMax)
            fail_corrupt("key 'general.alignment' is no power of two up to " +
                         std::to_string(kAlignmentMax));
        return alignment;
    }

    void read_tensor(std::uint32_t alignment, std::vector<Placed>& placed) {
        Placed tensor;
        tensor.name = read_name(kTensorNameBytesMax, "a tensor name");
        const std::string what = "tensor " + in_quotes(tensor.name);
        const auto dimensions = read<std::uint32_t>(what);
        if (dimensions < 1 || dimensions > kDimensionsMax)
            fail_corrupt(what + " has " + std::to_string(dimensions) + " dimensions");
        if (error_) return;
        // The file lists the innermost dimension first.
        tensor.view.shape.resize(dimensions);
        for (std::uint32_t i = dimensions; i-- > 0;)
            tensor.view.shape[i] = static_cast<std::int64_t>(read<std::uint64_t>(what));
        tensor.view.type = static_cast<TensorType>(read<std::uint32_t>(what));
        tensor.offset = read<std::uint64_t>(what);
        if (error_) return;
        if (!block_layout(tensor.view.type)) {
            const auto number = static_cast<std::uint32_t>(tensor.view.type);
            fail(unsupported(out_.file_, what + " has type number " + std::to_string(number) +
                                             " (supported: F32, F16, BF16, Q4_0, Q4_1, Q5_0, "
                                             "Q8_0, Q4_K, Q6_K)"));
            return;
        }
        const auto size = byte_count(tensor.view.type, tensor.view.shape);
        if (!size) {
            fail_corrupt(what + " has the impossible shape " + to_string(tensor.view.shape) +
                         " for type " + block_layout(tensor.view.type)->name);
            return;
        }
        tensor.size = static_cast<std::uint64_t>(*size);
        if (tensor.offset % alignment != 0) fail_corrupt(what + " lies at an unaligned offset");
        placed.push_back(std::move(tensor));
    }

    // The data begins at the first aligned byte after the header; offsets count from there. Tensors
    // that overlap are refused: sharing bytes, a small file could ask for any amount of weights.
    void place_tensors(std::uint32_t alignment, std::vector<Placed>& placed) {
        const std::uint64_t start = (at_ + alignment - 1) / alignment * alignment;
        const std::uint64_t room = start <= bytes_.size() ? bytes_.size() - start : 0;
        std::sort(placed.begin(), placed.end(),
                  [](const Placed& a, const Placed& b) { return a.offset < b.offset; });
        std::uint64_t end = 0;
        for (Placed& tensor : placed) {
            const std::string what = "tensor " + in_quotes(tensor.name);
            if (tensor.offset > room || tensor.size > room - tensor.offset)
                return fail_corrupt("truncated: " + what + " runs past the end of the file");
            if (tensor.offset < end) return fail_corrupt(what + " overlaps another tensor");
            end = tensor.offset + tensor.size;
            tensor.view.bytes = bytes_.subspan(start + tensor.offset, tensor.size);
            if (!out_.tensors_.emplace(tensor.name, std::move(tensor.view)).second)
                return fail_corrupt(what + " occurs twice");
        }
    }

    std::span<const std::byte> bytes_;
    std::uint64_t at_ = 0;
    GgufFile out_;
    std::optional<Error> error_;
};

Result<GgufFile> GgufFile::parse(std::span<const std::byte> bytes, std::string file) {
    return GgufParser(bytes, std::move(file)).run();
}

const GgufValue* GgufFile::find(std::string_view key) const {
    const auto it = values_.find(key);
    return it == values_.end() ? nullptr : &it->second;
}

}  // namespace hearth::engine
