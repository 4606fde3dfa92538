// CollectorUrl: the setting otlp_endpoint, taken apart.
#pragma once

#include <string>
#include <string_view>

#include "common/base/result.h"

namespace hearth {

// Where a collector listens: http(s)://host[:port][/path].
struct CollectorUrl {
    bool tls = false;
    std::string host_port;
    std::string path;  // Default "/v1/traces", as OTLP/HTTP has it.
};
Result<CollectorUrl> parse_collector_url(std::string_view url);

}  // namespace hearth
