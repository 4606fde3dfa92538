// Strict JSON: Boost.JSON's push parser with a handler that also watches sizes and repeated keys.
#include "cachenode/api/strict_json.h"

#include <algorithm>
#include <boost/json/basic_parser_impl.hpp>
#include <boost/json/value_stack.hpp>
#include <cstdint>
#include <string>
#include <vector>

#include "engine/text/utf8.h"

namespace hearth {

namespace json = boost::json;

namespace {

// Builds the value bottom-up in a value_stack, as Boost's own parser does. The keys of every open
// object lie one after another, an outer object's below an inner one's, and are sorted when the
// object ends: no order that a client picks makes that quadratic, as it would a hash set.
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
    bool on_object_begin(Code& ec) {
        if (!count_container(ec)) return false;
        open_.push_back({keys_.size(), key_bytes_.size()});
        return true;
    }
    bool on_object_end(std::size_t count, Code& ec) {
        if (has_repeat()) return fail(ec, "a key is repeated", ErrorCode::kInvalidArgument);
        keys_.resize(open_.back().first_key);
        key_bytes_.resize(open_.back().key_bytes);
        open_.pop_back();
        stack_.push_object(count);
        return true;
    }
    bool on_array_begin(Code& ec) { return count_container(ec); }
    bool on_array_end(std::size_t count, Code&) {
        stack_.push_array(count);
        return true;
    }
    bool on_key_part(Text part, std::size_t, Code&) {
        key_bytes_.append(part.data(), part.size());
        stack_.push_chars(part);
        return true;
    }
    bool on_key(Text part, std::size_t size, Code& ec) {
        key_bytes_.append(part.data(), part.size());
        stack_.push_key(part);
        keys_.push_back({key_bytes_.size() - size, size});
        if (keys_.size() - open_.back().first_key <= kJsonMembersMax) return true;
        return fail(ec, "an object has more than " + std::to_string(kJsonMembersMax) + " members");
    }
    bool on_string_part(Text part, std::size_t, Code&) {
        stack_.push_chars(part);
        return true;
    }
    bool on_string(Text part, std::size_t, Code& ec) {
        stack_.push_string(part);
        return count_value(ec);
    }
    bool on_number_part(Text, Code&) { return true; }
    bool on_int64(std::int64_t value, Text, Code& ec) {
        stack_.push_int64(value);
        return count_value(ec);
    }
    bool on_uint64(std::uint64_t value, Text, Code& ec) {
        stack_.push_uint64(value);
        return count_value(ec);
    }
    bool on_double(double value, Text, Code& ec) {
        stack_.push_double(value);
        return count_value(ec);
    }
    bool on_bool(bool value, Code& ec) {
        stack_.push_bool(value);
        return count_value(ec);
    }
    bool on_null(Code& ec) {
        stack_.push_null();
        return count_value(ec);
    }
    bool on_comment_part(Text, Code&) { return true; }
    bool on_comment(Text, Code&) { return true; }

    const Error& failure() const { return failure_; }  // No message: not one of ours.
    json::value release() { return stack_.release(); }

  private:
    struct Key {
        std::size_t begin = 0, size = 0;  // In key_bytes_.
    };
    struct OpenObject {
        std::size_t first_key = 0, key_bytes = 0;  // Where its keys begin.
    };

    std::string_view text_of(const Key& key) const {
        return std::string_view(key_bytes_).substr(key.begin, key.size);
    }

    // Of the object that ends. Its keys are not needed in their order any more.
    bool has_repeat() {
        const auto first = keys_.begin() + static_cast<std::ptrdiff_t>(open_.back().first_key);
        std::sort(first, keys_.end(), [this](const Key& a, const Key& b) {
            return a.size != b.size ? a.size < b.size : text_of(a) < text_of(b);
        });
        return std::adjacent_find(first, keys_.end(), [this](const Key& a, const Key& b) {
                   return text_of(a) == text_of(b);
               }) != keys_.end();
    }

    bool count_value(Code& ec) {
        if (++values_ <= kJsonValuesMax) return true;
        return fail(ec, "it has more than " + std::to_string(kJsonValuesMax) + " values");
    }
    bool count_container(Code& ec) {
        if (++containers_ <= kJsonContainersMax) return count_value(ec);
        return fail(
            ec, "it has more than " + std::to_string(kJsonContainersMax) + " objects and arrays");
    }
    bool fail(Code& ec, std::string message, ErrorCode code = ErrorCode::kTooLarge) {
        failure_ = make_error(code, std::move(message));
        ec = json::error::syntax;
        return false;
    }

    json::value_stack stack_;
    std::string key_bytes_;
    std::vector<Key> keys_;
    std::vector<OpenObject> open_;
    std::size_t values_ = 0, containers_ = 0;
    Error failure_;
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
        const Error& own = parser.handler().failure();
        const std::string at = ", at byte " + std::to_string(used);
        if (!own.message.empty()) return make_error(own.code, own.message + at);
        return make_error(ErrorCode::kInvalidArgument, ec.message() + at);
    }
    return parser.handler().release();
}

std::string to_valid_utf8(std::string_view text) {
    std::string pending(text), out;
    engine::take_valid_utf8(pending, /*at_end=*/true, out);
    return out;
}

}  // namespace hearth
