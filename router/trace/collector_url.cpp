// No library: the URLs of collectors are a scheme, an address and a path.
#include "router/trace/collector_url.h"

#include <algorithm>

#include "common/net/http_server.h"

namespace hearth {

Result<CollectorUrl> parse_collector_url(std::string_view url) {
    CollectorUrl out;
    constexpr std::string_view kHttp = "http://", kHttps = "https://";
    out.tls = url.starts_with(kHttps);
    if (!out.tls && !url.starts_with(kHttp))
        return make_error(ErrorCode::kInvalidArgument, "must begin with http:// or https://");
    url.remove_prefix(out.tls ? kHttps.size() : kHttp.size());
    const std::size_t slash = std::min(url.find('/'), url.size());
    out.host_port = url.substr(0, slash);
    out.path = url.substr(slash);
    if (out.path.empty() || out.path == "/") out.path = "/v1/traces";
    const bool plain = std::all_of(out.path.begin(), out.path.end(),
                                   [](unsigned char c) { return c > ' ' && c < 0x7f; });
    if (!plain) return make_error(ErrorCode::kInvalidArgument, "the path must be printable ASCII");
    const std::size_t colon = out.host_port.rfind(':');
    const bool has_port = colon != std::string::npos && out.host_port.back() != ']';
    if (!has_port) out.host_port += out.tls ? ":443" : ":4318";
    if (auto parts = split_host_port(out.host_port); !parts) return parts.error();
    return out;
}

}  // namespace hearth
