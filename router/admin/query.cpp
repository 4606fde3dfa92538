// application/x-www-form-urlencoded as in the WHATWG URL standard, save that nothing is guessed.
#include "router/admin/query.h"

#include <algorithm>
#include <charconv>

namespace hearth {

Result<std::string> percent_decoded(std::string_view text) {
    std::string out;
    for (std::size_t i = 0; i < text.size(); ++i) {
        if (text[i] != '%') {
            out += text[i] == '+' ? ' ' : text[i];
            continue;
        }
        const std::string_view digits = text.substr(i + 1, 2);
        unsigned byte = 0;
        const auto end = std::from_chars(digits.data(), digits.data() + digits.size(), byte, 16);
        if (digits.size() != 2 || end.ec != std::errc{} || end.ptr != digits.data() + 2)
            return make_error(ErrorCode::kInvalidArgument, "a '%' without two hex digits");
        out += static_cast<char>(byte);
        i += 2;
    }
    return out;
}

Result<std::map<std::string, std::string>> parse_query(
    std::string_view query, std::initializer_list<std::string_view> known) {
    std::map<std::string, std::string> out;
    while (!query.empty()) {
        const std::string_view pair = query.substr(0, query.find('&'));
        query.remove_prefix(std::min(pair.size() + 1, query.size()));
        if (pair.empty()) continue;
        const std::size_t equals = pair.find('=');
        const std::string name(pair.substr(0, equals));
        if (std::find(known.begin(), known.end(), name) == known.end())
            return make_error(ErrorCode::kInvalidArgument, "unknown parameter '" + name + "'");
        auto value = percent_decoded(equals == std::string_view::npos ? std::string_view()
                                                                      : pair.substr(equals + 1));
        if (!value)
            return make_error(ErrorCode::kInvalidArgument, name + ": " + value.error().message);
        if (!out.emplace(name, std::move(*value)).second)
            return make_error(ErrorCode::kInvalidArgument, name + " is given twice");
    }
    return out;
}

}  // namespace hearth
