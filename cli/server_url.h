// ServerUrl: where a subcommand finds its server: host:port, http://... or https://...
#pragma once

#include <string>

#include "common/net/http_client.h"

namespace hearth::cli {

struct ServerUrl {
    std::string scheme;     // "http" or "https"
    std::string host_port;  // The port is the scheme's own when the URL has none.
    HttpClient::Options client;
};

// `cacert` is a PEM file of whom to trust instead of the system's; only https has a use for it.
Result<ServerUrl> server_url(std::string text, const std::string& cacert);

}  // namespace hearth::cli
