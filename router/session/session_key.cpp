// One pass over the request's fields finds the most wanted header that names the session.
#include "router/session/session_key.h"

#include <algorithm>
#include <array>

namespace hearth {
namespace {

constexpr std::array<std::string_view, 9> kBuiltInNames = {
    "x-session-id",         "x-session-affinity",   "x-claude-code-session-id",
    "session-id",           "x-smg-routing-key",    "x-dynamo-session-id",
    "x-aibrix-session-key", "x-litellm-session-id", "x-sgl-routing-key",
};

char folded(char c) {
    if (c == '_') return '-';
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}

std::string folded(std::string_view name) {
    std::string out(name);
    std::transform(out.begin(), out.end(), out.begin(), [](char c) { return folded(c); });
    return out;
}

bool same_name(std::string_view name, std::string_view folded_name) {
    return name.size() == folded_name.size() &&
           std::equal(name.begin(), name.end(), folded_name.begin(),
                      [](char a, char b) { return folded(a) == b; });
}

std::string_view trimmed(std::string_view text) {
    while (!text.empty() && text.front() == ' ') text.remove_prefix(1);
    while (!text.empty() && text.back() == ' ') text.remove_suffix(1);
    return text;
}

}  // namespace

SessionKeys::SessionKeys(const Options& options) : options_(options), deriver_(options.secret) {
    for (const std::string& name : options.headers) names_.push_back(folded(name));
    names_.insert(names_.end(), kBuiltInNames.begin(), kBuiltInNames.end());
    for (const std::string& name : names_)
        sizes_ |= std::uint64_t{1} << std::min<std::size_t>(name.size(), 63);
}

bool SessionKeys::is_per_request(std::string_view header_name) {
    constexpr std::array<std::string_view, 8> kNames = {
        "x-request-id", "request-id", "hearth-request-id", "x-trace-id",
        "traceparent",  "tracestate", "x-b3-traceid",      "x-amzn-trace-id"};
    return std::any_of(kNames.begin(), kNames.end(),
                       [&](std::string_view name) { return same_name(header_name, name); });
}

std::string_view SessionKeys::find_cookie(const RequestHead& head) const {
    for (const HeaderField& field : head.fields) {
        if (!equals_ignore_case(field.name, "cookie")) continue;
        std::string_view rest = field.value;
        while (!rest.empty()) {
            const std::size_t end = std::min(rest.find(';'), rest.size());
            const std::string_view pair = trimmed(rest.substr(0, end));
            rest.remove_prefix(std::min(end + 1, rest.size()));
            const std::size_t equals = pair.find('=');
            if (equals == std::string_view::npos || pair.substr(0, equals) != options_.cookie)
                continue;
            std::string_view value = pair.substr(equals + 1);
            if (value.size() >= 2 && value.front() == '"' && value.back() == '"')
                value = value.substr(1, value.size() - 2);
            if (!value.empty()) return value;
        }
    }
    return {};
}

Result<std::optional<RawKey>> SessionKeys::from_head(const RequestHead& head) const {
    std::size_t best = names_.size();
    std::string_view value;
    for (const HeaderField& field : head.fields) {
        // Nearly every field has another length than all the names.
        if (field.value.empty() ||
            (sizes_ >> std::min<std::size_t>(field.name.size(), 63) & 1) == 0)
            continue;
        for (std::size_t rank = 0; rank < best; ++rank) {
            if (!same_name(field.name, names_[rank])) continue;
            best = rank;
            value = field.value;
        }
    }
    KeySource source = KeySource::kHeader;
    if (value.empty() && !options_.cookie.empty()) {
        source = KeySource::kCookie;
        value = find_cookie(head);
    }
    if (value.empty()) return std::optional<RawKey>();
    if (value.size() > kRawKeyBytesMax)
        return make_error(ErrorCode::kInvalidArgument,
                          std::string("the session key in a ") + to_string(source) +
                              " is longer than " + std::to_string(kRawKeyBytesMax) + " bytes");
    return std::optional<RawKey>(RawKey{source, std::string(value)});
}

}  // namespace hearth
