// ServerUrl: takes the scheme off an address and makes what https needs.
#include "cli/server_url.h"

namespace hearth::cli {

Result<ServerUrl> server_url(std::string text, const std::string& cacert) {
    ServerUrl url;
    url.scheme = "http";
    if (const std::size_t colon = text.find("://"); colon != std::string::npos) {
        url.scheme = text.substr(0, colon);
        text.erase(0, colon + 3);
        if (text.ends_with('/')) text.pop_back();
        if (const std::size_t slash = text.find('/'); slash != std::string::npos)
            return make_error(ErrorCode::kInvalidArgument,
                              "leave out '" + text.substr(slash) + "': only the server is wanted");
        const std::size_t port = text.rfind(':');
        if (port == std::string::npos || text.ends_with(']'))
            text += url.scheme == "https" ? ":443" : ":80";
    }
    if (url.scheme != "http" && url.scheme != "https")
        return make_error(ErrorCode::kInvalidArgument,
                          "'" + url.scheme + "' is neither http nor https");
    if (auto parts = split_host_port(text); !parts) return parts.error();
    url.host_port = text;
    if (url.scheme == "http") return url;
    TlsClientOptions options;
    options.ca_file = cacert;
    auto tls = TlsContext::client(options);
    if (!tls) return tls.error();
    url.client.tls = std::move(*tls);
    return url;
}

}  // namespace hearth::cli
