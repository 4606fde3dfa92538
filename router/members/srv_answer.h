// SRV answers of DNS, from the bytes of a message to records. Pure.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/result.h"

namespace hearth {

struct SrvRecord {
    std::string target;  // Without the last dot, in lower case.
    std::uint16_t port = 0;
    std::uint16_t priority = 0;
    std::uint16_t weight = 0;
};

// The SRV records in a message's answer section (RFC 1035 section 4, RFC 2782); those of the best
// priority only, as the others wait for those to fail. kCorrupt if the message is malformed,
// kNotFound if it holds none, kUnavailable for a truncated one or an error of the server.
Result<std::vector<SrvRecord>> srv_records_from(std::string_view message);

}  // namespace hearth
