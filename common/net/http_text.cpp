// The texts that HTTP rooms share: OpenAI's error object, and "host:port".
#include <charconv>

#include "common/net/http_server.h"

namespace hearth {
namespace {

// Length of the well-formed UTF-8 sequence at the start of `text`, 0 if it is malformed
// (Unicode 15, table 3-7: no overlong forms, no surrogates, nothing above U+10FFFF).
std::size_t utf8_length(std::string_view text) {
    const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
    const unsigned lead = byte(0);
    if (lead < 0x80) return 1;
    const std::size_t size = lead < 0xc2   ? 0
                             : lead < 0xe0 ? 2
                             : lead < 0xf0 ? 3
                             : lead < 0xf5 ? 4
                                           : 0;
    if (size == 0 || size > text.size()) return 0;
    for (std::size_t i = 1; i < size; ++i)
        if ((byte(i) & 0xc0) != 0x80) return 0;
    const unsigned second = byte(1);
    if ((lead == 0xe0 && second < 0xa0) || (lead == 0xed && second > 0x9f)) return 0;
    if ((lead == 0xf0 && second < 0x90) || (lead == 0xf4 && second > 0x8f)) return 0;
    return size;
}

void append_json_string(std::string& out, std::string_view text) {
    constexpr std::string_view kHex = "0123456789abcdef";
    out.push_back('"');
    while (!text.empty()) {
        const std::size_t size = utf8_length(text);
        const auto c = static_cast<unsigned char>(text.front());
        if (size == 0) {
            out.append("\\ufffd");
        } else if (c == '"' || c == '\\') {
            out.append({'\\', text.front()});
        } else if (c < 0x20) {
            out.append("\\u00").append({kHex[c >> 4], kHex[c & 15]});
        } else {
            out.append(text.substr(0, size));
        }
        text.remove_prefix(size == 0 ? 1 : size);
    }
    out.push_back('"');
}

void append_member(std::string& out, std::string_view name, std::string_view value) {
    out.append(",\"").append(name).append("\":");
    if (value.empty())
        out.append("null");
    else
        append_json_string(out, value);
}

}  // namespace

std::string error_body(std::string_view message, std::string_view type, std::string_view param,
                       std::string_view code) {
    std::string out = "{\"error\":{\"message\":";
    append_json_string(out, message);
    append_member(out, "type", type);
    append_member(out, "param", param);
    append_member(out, "code", code);
    out.append("}}");
    return out;
}

Result<std::pair<std::string, std::uint16_t>> split_host_port(std::string_view text) {
    const Error error = make_error(ErrorCode::kInvalidArgument,
                                   "'" + std::string(text) + "' is not host:port or [v6]:port");
    const std::size_t colon = text.rfind(':');
    if (colon == std::string_view::npos) return error;
    std::string_view host = text.substr(0, colon);
    const std::string_view digits = text.substr(colon + 1);
    if (host.starts_with('[') && host.ends_with(']'))
        host = host.substr(1, host.size() - 2);
    else if (host.find_first_of("[]:") != std::string_view::npos)
        return error;
    // "*:80" is somebody's wildcard, "http://h:80" a URL: neither is a name to look up.
    if (host.find_first_of("*/@, \t\"'") != std::string_view::npos) return error;
    std::uint16_t port = 0;
    const auto end = std::from_chars(digits.data(), digits.data() + digits.size(), port);
    if (host.empty() || digits.empty() || end.ec != std::errc{} ||
        end.ptr != digits.data() + digits.size())
        return error;
    return std::pair<std::string, std::uint16_t>(host, port);
}

}  // namespace hearth
