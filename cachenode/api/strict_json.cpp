// Strict JSON: Boost.JSON's push parser with a handler that also watches for repeated keys.
#include "cachenode/api/strict_json.h"

#include <boost/json/basic_parser_impl.hpp>
#include <boost/json/value_stack.hpp>
#include <cstdint>
#include <unordered_set>
#include <utility>
#include <vector>

#include "engine/text/utf8.h"

namespace hearth {

namespace json = boost::json;

namespace {

// Builds the value bottom-up in a value_stack, as Boost's own parser does; keys of every open
// object are kept to find repeats.
class BuildHandler {
  public:
    using Code = json::error_code;
    using Text = json::string_view;
    static constexpr std::size_t max_object_size = json::object::max_size();
    static constexpr std::size_t max_array_size = json::array::max_size();
    static constexpr std::size_t max_key_size = json::string::max_size();
    static constexpr std::size_t max_string_size = json::string::max_size();

    bool on_document_begin(Code&) {
        stack_.reset();
        return true;
    }
    bool on_document_end(Code&) { return true; }
    bool on_object_begin(Code&) {
        keys_.emplace_back();
        return true;
    }
    bool on_object_end(std::size_t count, Code&) {
        keys_.pop_back();
        stack_.push_object(count);
        return true;
    }
    bool on_array_begin(Code&) { return true; }
    bool on_array_end(std::size_t count, Code&) {
        stack_.push_array(count);
        return true;
    }
    bool on_key_part(Text part, std::size_t, Code&) {
        key_.append(part.data(), part.size());
        stack_.push_chars(part);
        return true;
    }
    bool on_key(Text part, std::size_t, Code& ec) {
        key_.append(part.data(), part.size());
        stack_.push_key(part);
        const bool fresh = keys_.back().insert(std::exchange(key_, {})).second;
        if (fresh) return true;
        repeated_ = true;
        ec = json::error::syntax;
        return false;
    }
    bool on_string_part(Text part, std::size_t, Code&) {
        stack_.push_chars(part);
        return true;
    }
    bool on_string(Text part, std::size_t, Code&) {
        stack_.push_string(part);
        return true;
    }
    bool on_number_part(Text, Code&) { return true; }
    bool on_int64(std::int64_t value, Text, Code&) {
        stack_.push_int64(value);
        return true;
    }
    bool on_uint64(std::uint64_t value, Text, Code&) {
        stack_.push_uint64(value);
        return true;
    }
    bool on_double(double value, Text, Code&) {
        stack_.push_double(value);
        return true;
    }
    bool on_bool(bool value, Code&) {
        stack_.push_bool(value);
        return true;
    }
    bool on_null(Code&) {
        stack_.push_null();
        return true;
    }
    bool on_comment_part(Text, Code&) { return true; }
    bool on_comment(Text, Code&) { return true; }

    bool repeated() const { return repeated_; }
    json::value release() { return stack_.release(); }

  private:
    json::value_stack stack_;
    std::vector<std::unordered_set<std::string>> keys_;
    std::string key_;
    bool repeated_ = false;
};

}  // namespace

Result<json::value> parse_strict_json(std::string_view text) {
    json::parse_options options;
    options.max_depth = kJsonDepthMax;
    json::basic_parser<BuildHandler> parser(options);
    json::error_code ec;
    const std::size_t used = parser.write_some(false, text.data(), text.size(), ec);
    if (!ec && used < text.size()) {
        return make_error(ErrorCode::kInvalidArgument,
                          "text after the JSON document, at byte " + std::to_string(used));
    }
    if (ec) {
        const std::string what = parser.handler().repeated() ? "a key is repeated" : ec.message();
        return make_error(ErrorCode::kInvalidArgument, what + ", at byte " + std::to_string(used));
    }
    return parser.handler().release();
}

std::string to_valid_utf8(std::string_view text) {
    std::string pending(text), out;
    engine::take_valid_utf8(pending, /*at_end=*/true, out);
    return out;
}

}  // namespace hearth
