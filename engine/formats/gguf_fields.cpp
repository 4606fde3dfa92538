// Typed reads of GGUF metadata with one sticky error that names the file and the key.
#include <cmath>
#include <cstring>
#include <limits>

#include "engine/formats/fault.h"
#include "engine/formats/gguf_reader.h"

namespace hearth::engine {

namespace {

template <typename T>
T element(const GgufValue& value, std::uint64_t index) {
    T out;
    std::memcpy(&out, value.bytes.data() + index * sizeof out, sizeof out);
    return out;
}

}  // namespace

void GgufFields::fail(ErrorCode code, const std::string& what) {
    if (!error_) error_ = fault(code, file_.file(), what);
}

const GgufValue* GgufFields::require(const std::string& key) {
    const GgufValue* value = file_.find(key);
    if (value == nullptr) fail(ErrorCode::kCorrupt, "key " + in_quotes(key) + " is missing");
    return value;
}

// Null if the key is absent; also, with an error, if it is an array where a scalar is wanted or the
// other way round.
const GgufValue* GgufFields::expect(const std::string& key, bool array, const char* what) {
    const GgufValue* value = file_.find(key);
    if (value == nullptr || value->is_array == array) return value;
    fail(ErrorCode::kCorrupt, "key " + in_quotes(key) + " is not " + what);
    return nullptr;
}

bool GgufFields::integer(const std::string& key, const GgufValue& value, std::uint64_t index,
                         std::int64_t& out) {
    switch (value.type) {
        case GgufType::kU8: out = element<std::uint8_t>(value, index); return true;
        case GgufType::kI8: out = element<std::int8_t>(value, index); return true;
        case GgufType::kU16: out = element<std::uint16_t>(value, index); return true;
        case GgufType::kI16: out = element<std::int16_t>(value, index); return true;
        case GgufType::kU32: out = element<std::uint32_t>(value, index); return true;
        case GgufType::kI32: out = element<std::int32_t>(value, index); return true;
        case GgufType::kI64: out = element<std::int64_t>(value, index); return true;
        case GgufType::kU64: {
            const auto wide = element<std::uint64_t>(value, index);
            constexpr auto kMax = std::numeric_limits<std::int64_t>::max();
            out = wide > static_cast<std::uint64_t>(kMax) ? kMax : static_cast<std::int64_t>(wide);
            return true;
        }
        default: fail(ErrorCode::kCorrupt, "key " + in_quotes(key) + " is not an integer");
    }
    return false;
}

std::int32_t GgufFields::size(const std::string& key) {
    return require(key) == nullptr ? 0 : size(key, 0);
}

std::int32_t GgufFields::size(const std::string& key, std::int32_t fallback) {
    const GgufValue* value = file_.find(key);
    std::int64_t first = 0;
    if (value == nullptr) return fallback;
    if (value->count == 0) {
        fail(ErrorCode::kCorrupt, "key " + in_quotes(key) + " is an empty array");
        return fallback;
    }
    if (!integer(key, *value, 0, first)) return fallback;
    for (std::uint64_t i = 1; i < value->count; ++i) {
        std::int64_t next = 0;
        if (!integer(key, *value, i, next)) return fallback;
        if (next != first) {
            fail(ErrorCode::kUnsupported, "key " + in_quotes(key) + " differs from layer to layer");
            return fallback;
        }
    }
    if (first < 0 || first > std::numeric_limits<std::int32_t>::max()) {
        fail(first < 0 ? ErrorCode::kCorrupt : ErrorCode::kTooLarge,
             "key " + in_quotes(key) + " is out of range");
        return fallback;
    }
    return static_cast<std::int32_t>(first);
}

float GgufFields::number(const std::string& key) {
    return require(key) == nullptr ? 0.0f : number(key, 0.0f);
}

float GgufFields::number(const std::string& key, float fallback) {
    const GgufValue* value = expect(key, false, "a number");
    if (value == nullptr) return fallback;
    float out = fallback;
    std::int64_t whole = 0;
    if (value->type == GgufType::kF32) {
        out = element<float>(*value, 0);
    } else if (value->type == GgufType::kF64) {
        out = static_cast<float>(element<double>(*value, 0));
    } else if (integer(key, *value, 0, whole)) {
        out = static_cast<float>(whole);
    }
    if (!std::isfinite(out)) fail(ErrorCode::kCorrupt, "key " + in_quotes(key) + " is not finite");
    return out;
}

bool GgufFields::flag(const std::string& key, bool fallback) {
    const GgufValue* value = expect(key, false, "a flag");
    if (value == nullptr) return fallback;
    if (value->type == GgufType::kBool) return element<std::uint8_t>(*value, 0) != 0;
    fail(ErrorCode::kCorrupt, "key " + in_quotes(key) + " is not a flag");
    return fallback;
}

std::string GgufFields::text(const std::string& key, const std::string& fallback) {
    const GgufValue* value = expect(key, false, "a text");
    if (value == nullptr) return fallback;
    if (value->type != GgufType::kString) {
        fail(ErrorCode::kCorrupt, "key " + in_quotes(key) + " is not a text");
        return fallback;
    }
    const auto characters = value->bytes.subspan(sizeof(std::uint64_t));
    return std::string(reinterpret_cast<const char*>(characters.data()), characters.size());
}

std::int32_t GgufFields::token(const std::string& key, std::int32_t fallback) {
    const GgufValue* value = expect(key, false, "a token id");
    std::int64_t id = 0;
    if (value == nullptr || !integer(key, *value, 0, id)) return fallback;
    if (id == -1 || id == 0xffffffff) return -1;
    if (id < 0 || id > std::numeric_limits<std::int32_t>::max()) {
        fail(ErrorCode::kCorrupt, "key " + in_quotes(key) + " is out of range");
        return fallback;
    }
    return static_cast<std::int32_t>(id);
}

std::vector<std::int32_t> GgufFields::integers(const std::string& key) {
    const GgufValue* value = expect(key, true, "an array");
    std::vector<std::int32_t> out;
    if (value == nullptr) return out;
    out.reserve(value->count);  // At most the file's size: parse() has counted the bytes.
    for (std::uint64_t i = 0; i < value->count; ++i) {
        std::int64_t wide = 0;
        if (!integer(key, *value, i, wide)) return {};
        if (wide != static_cast<std::int32_t>(wide)) {
            fail(ErrorCode::kCorrupt, "key " + in_quotes(key) + " holds a number out of range");
            return {};
        }
        out.push_back(static_cast<std::int32_t>(wide));
    }
    return out;
}

std::vector<float> GgufFields::numbers(const std::string& key) {
    const GgufValue* value = expect(key, true, "an array");
    if (value == nullptr) return {};
    if (value->type != GgufType::kF32) {
        fail(ErrorCode::kCorrupt, "key " + in_quotes(key) + " is not an array of F32");
        return {};
    }
    std::vector<float> out(value->count);
    for (std::uint64_t i = 0; i < value->count; ++i) out[i] = element<float>(*value, i);
    return out;
}

std::vector<std::string> GgufFields::texts(const std::string& key) {
    const GgufValue* value = expect(key, true, "an array");
    if (value == nullptr) return {};
    if (value->type != GgufType::kString) {
        fail(ErrorCode::kCorrupt, "key " + in_quotes(key) + " is not an array of texts");
        return {};
    }
    std::vector<std::string> out;
    out.reserve(value->count);
    const std::byte* at = value->bytes.data();
    for (std::uint64_t i = 0; i < value->count; ++i) {
        std::uint64_t size = 0;
        std::memcpy(&size, at, sizeof size);
        out.emplace_back(reinterpret_cast<const char*>(at) + sizeof size, size);
        at += sizeof size + size;
    }
    return out;
}

}  // namespace hearth::engine
