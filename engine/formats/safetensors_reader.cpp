// Reads safetensors headers; shards are found by the index, and only beside it.
#include "engine/formats/safetensors_reader.h"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <optional>
#include <set>
#include <utility>

#include "engine/formats/fault.h"
#include "engine/formats/json_file.h"

namespace hearth::engine {

namespace json = boost::json;

namespace {

constexpr std::uint64_t kHeaderBytesMax = 16u << 20;
constexpr std::size_t kIndexBytesMax = 16u << 20;
constexpr std::size_t kShardsMax = 1024;

std::optional<TensorType> tensor_type(std::string_view dtype) {
    if (dtype == "F32") return TensorType::kF32;
    if (dtype == "F16") return TensorType::kF16;
    if (dtype == "BF16") return TensorType::kBF16;
    return std::nullopt;
}

// A list of non-negative integers.
std::optional<std::vector<std::int64_t>> integers(const json::value* value) {
    if (value == nullptr || !value->is_array()) return std::nullopt;
    std::vector<std::int64_t> out;
    for (const json::value& each : value->get_array()) {
        if (!each.is_int64() || each.get_int64() < 0) return std::nullopt;
        out.push_back(each.get_int64());
    }
    return out;
}

struct Range {
    std::uint64_t begin = 0;
    std::uint64_t end = 0;
};

Result<Range> read_tensor(const json::value& entry, const std::string& what,
                          const std::string& file, TensorView& view) {
    const json::object* object = entry.if_object();
    if (object == nullptr) return corrupt(file, what + " is not described by an object");
    const std::string_view dtype = text_member(*object, "dtype");
    const auto type = tensor_type(dtype);
    if (!type)
        return unsupported(
            file, what + " has dtype " + in_quotes(dtype) + " (supported: F32, F16, BF16)");
    const auto shape = integers(member(*object, "shape"));
    const auto offsets = integers(member(*object, "data_offsets"));
    if (!shape || !offsets || offsets->size() != 2 || (*offsets)[0] > (*offsets)[1])
        return corrupt(file, what + " has no valid shape and data_offsets");
    const auto size = byte_count(*type, *shape);
    if (!size || *size != (*offsets)[1] - (*offsets)[0])
        return corrupt(file, what + " has shape " + to_string(*shape) + " but " +
                                 std::to_string((*offsets)[1] - (*offsets)[0]) + " bytes");
    view.type = *type;
    view.shape = *shape;
    return Range{static_cast<std::uint64_t>((*offsets)[0]),
                 static_cast<std::uint64_t>((*offsets)[1])};
}

}  // namespace

Result<void> read_safetensors(std::span<const std::byte> bytes, const std::string& file,
                              TensorTable& out) {
    std::uint64_t header_size = 0;
    if (bytes.size() < sizeof header_size) return corrupt(file, "truncated: no header length");
    std::memcpy(&header_size, bytes.data(), sizeof header_size);
    if (header_size > kHeaderBytesMax)
        return too_large(file, "a header of " + std::to_string(header_size) +
                                   " bytes, the limit is " + std::to_string(kHeaderBytesMax));
    const auto rest = bytes.subspan(sizeof header_size);
    if (header_size > rest.size()) return corrupt(file, "truncated: the header runs past the end");
    const auto header = parse_json(
        {reinterpret_cast<const char*>(rest.data()), static_cast<std::size_t>(header_size)}, file,
        kHeaderBytesMax);
    if (!header) return header.error();
    const auto data = rest.subspan(header_size);

    std::vector<Range> covered;
    for (const auto& entry : *header) {
        const std::string name(entry.key().data(), entry.key().size());
        if (name == "__metadata__") continue;
        const std::string what = "tensor " + in_quotes(name);
        TensorView view;
        const auto range = read_tensor(entry.value(), what, file, view);
        if (!range) return range.error();
        if (range->end > data.size())
            return corrupt(file, "truncated: " + what + " runs past the end of the file");
        view.bytes = data.subspan(range->begin, range->end - range->begin);
        covered.push_back(*range);
        if (!out.emplace(name, std::move(view)).second)
            return corrupt(file, what + " occurs twice");
    }
    std::sort(covered.begin(), covered.end(),
              [](const Range& a, const Range& b) { return a.begin < b.begin; });
    std::uint64_t end = 0;
    for (const Range& range : covered) {
        if (range.begin != end) return corrupt(file, "the tensors leave a gap or overlap");
        end = range.end;
    }
    if (end != data.size()) return corrupt(file, "the tensors do not cover the whole file");
    return {};
}

Result<SafetensorsFiles> open_safetensors(const std::string& folder) {
    std::set<std::string> shards;
    const std::string single = folder + "/model.safetensors";
    const std::string index = single + ".index.json";
    if (std::filesystem::exists(single)) {
        shards.insert("model.safetensors");
    } else {
        if (!std::filesystem::exists(index))
            return fault(ErrorCode::kNotFound, folder,
                         "neither model.safetensors nor model.safetensors.index.json is there");
        const auto parsed = read_json(index, kIndexBytesMax);
        if (!parsed) return parsed.error();
        const json::object* map = object_member(*parsed, "weight_map");
        if (map == nullptr) return corrupt(index, "key 'weight_map' is missing");
        for (const auto& entry : *map) {
            const json::string* shard = entry.value().if_string();
            const std::string name = shard == nullptr ? "" : std::string(*shard);
            // Only plain names: an index must not reach files outside its folder.
            if (name.empty() || name.find('/') != std::string::npos || name[0] == '.')
                return corrupt(index, "key 'weight_map' names the shard " + in_quotes(name));
            shards.insert(name);
        }
        if (shards.size() > kShardsMax) return too_large(index, "over 1024 shards");
    }
    SafetensorsFiles out;
    for (const std::string& shard : shards) {
        auto file = MappedFile::open(folder + "/" + shard);
        if (!file) return file.error();
        const auto read = read_safetensors(file->bytes(), file->path(), out.tensors);
        if (!read) return read.error();
        out.files.push_back(std::move(*file));
    }
    return out;
}

}  // namespace hearth::engine
