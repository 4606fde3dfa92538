// Random schemas and their plain reading: each keyword checked by itself on the parsed value.
#include "tests/cachenode/api/random_schema.h"

#include <algorithm>
#include <array>
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>
#include <cmath>

namespace hearth::testing {

namespace json = boost::json;

namespace {

const std::array<const char*, 8> kNames = {"a",       "ab",       "b", "na me",
                                           "q\"uote", "\xc3\xa9", "",  "abc"};

json::value random_literal(Rng& rng) {
    switch (rng.next() % 6) {
        case 0: return nullptr;
        case 1: return rng.next() % 2 == 0;
        case 2: return static_cast<std::int64_t>(rng.next() % 2000) - 1000;
        case 3: return static_cast<double>(rng.next() % 1000) / 8;
        default: return json::value(kNames[rng.next() % kNames.size()]);
    }
}

json::value random_object(Rng& rng, int depth) {
    json::object properties;
    json::array required;
    const std::size_t first = rng.next() % kNames.size();
    for (std::size_t i = 0; i < rng.next() % 5; ++i) {
        const char* const name = kNames[(first + i) % kNames.size()];
        properties[name] = random_schema(rng, depth - 1);
        if (rng.next() % 2 == 0) required.emplace_back(name);
    }
    return json::object{{"type", "object"},
                        {"properties", properties},
                        {"required", required},
                        {"additionalProperties", false}};
}

json::value random_array(Rng& rng, int depth) {
    json::object out{{"type", "array"}, {"items", random_schema(rng, depth - 1)}};
    const std::int64_t least = static_cast<std::int64_t>(rng.next() % 3);
    if (rng.next() % 2 == 0) out["minItems"] = least;
    out["maxItems"] = least + static_cast<std::int64_t>(rng.next() % 3);
    return out;
}

json::value random_any_of(Rng& rng, int depth) {
    json::array all;
    if (rng.next() % 2 == 0) all.push_back(json::object{{"type", "null"}});
    if (rng.next() % 2 == 0) all.push_back(json::object{{"type", "boolean"}});
    if (rng.next() % 2 == 0) all.push_back(json::object{{"enum", {"x", "xy", "xyz"}}});
    if (rng.next() % 2 == 0) all.push_back(random_array(rng, depth - 1));
    all.push_back(random_object(rng, depth - 1));
    return json::object{{"anyOf", all}};
}

bool is_of(std::string_view type, const json::value& value) {
    if (type == "object") return value.is_object();
    if (type == "array") return value.is_array();
    if (type == "string") return value.is_string();
    if (type == "boolean") return value.is_bool();
    if (type == "null") return value.is_null();
    if (!value.is_number()) return false;
    return type == "number" || std::floor(value.to_number<double>()) == value.to_number<double>();
}

bool same(const json::value& a, const json::value& b) {
    if (a.is_number() && b.is_number()) return a.to_number<double>() == b.to_number<double>();
    return a == b;
}

std::string check_object(const json::object& schema, const json::object& value) {
    const json::object& known = schema.at("properties").get_object();
    for (const auto& [key, member] : value) {
        const json::value* child = known.if_contains(key);
        if (child == nullptr) return "has the key " + std::string(key);
        if (auto why = why_invalid(*child, member); !why.empty())
            return std::string(key) + "." + why;
    }
    for (const json::value& name : schema.at("required").get_array())
        if (!value.contains(name.get_string())) return "lacks " + json::serialize(name);
    return {};
}

}  // namespace

json::value random_schema(Rng& rng, int depth) {
    switch (rng.next() % (depth > 0 ? 11 : 7)) {
        case 0: return json::object{{"type", "string"}, {"description", "a text"}};
        case 1: return json::object{{"type", "integer"}};
        case 2: return json::object{{"type", "number"}};
        case 3: return json::object{{"type", "boolean"}};
        case 4: return json::object{{"type", json::array{"null", "integer"}}};
        case 5: return json::object{{"const", random_literal(rng)}};
        case 6: {
            json::array list;
            for (std::size_t i = 0; i < 1 + rng.next() % 4; ++i)
                list.push_back(random_literal(rng));
            return json::object{{"enum", list}};
        }
        case 7: return random_array(rng, depth);
        case 8: return random_any_of(rng, depth);
        default: return random_object(rng, depth);
    }
}

std::string why_invalid(const json::value& schema, const json::value& value) {
    const json::object& s = schema.get_object();
    if (const json::value* list = s.if_contains("anyOf")) {
        for (const json::value& child : list->get_array())
            if (why_invalid(child, value).empty()) return {};
        return "fits no alternative";
    }
    if (const json::value* one = s.if_contains("const"))
        return same(*one, value) ? "" : "is not " + json::serialize(*one);
    if (const json::value* list = s.if_contains("enum")) {
        const json::array& all = list->get_array();
        const bool found = std::any_of(all.begin(), all.end(),
                                       [&](const json::value& one) { return same(one, value); });
        return found ? "" : "is none of " + json::serialize(*list);
    }
    const json::value& type = s.at("type");
    const json::array types = type.is_array() ? type.get_array() : json::array{type};
    const bool fits = std::any_of(types.begin(), types.end(), [&](const json::value& name) {
        return is_of(std::string_view(name.get_string()), value);
    });
    if (!fits) return "is not of type " + json::serialize(type);
    if (value.is_object()) return check_object(s, value.get_object());
    if (!value.is_array()) return {};
    const json::array& items = value.get_array();
    if (const json::value* least = s.if_contains("minItems"))
        if (std::ssize(items) < least->get_int64()) return "has too few items";
    if (std::ssize(items) > s.at("maxItems").get_int64()) return "has too many items";
    for (const json::value& item : items)
        if (auto why = why_invalid(s.at("items"), item); !why.empty()) return "item " + why;
    return {};
}

}  // namespace hearth::testing
