// RedisSettings: what a program's configuration says of Redis.
#pragma once

#include <string>
#include <vector>

#include "common/base/result.h"
#include "common/redis/redis_store.h"

namespace hearth {

// Members are the settings redis, redis_sentinels, redis_master and so on.
struct RedisSettings {
    std::string address;                 // host:port
    std::vector<std::string> sentinels;  // host:port each; in place of `address`.
    std::string master = "mymaster";
    std::string sentinel_password;
    std::string password;
    bool tls = false;
    std::string ca;  // PEM file; empty = the system's.

    bool used() const { return !address.empty() || !sentinels.empty(); }
    // Errors begin with the setting's name. check() reads no file.
    Result<void> check() const;
    Result<RedisOptions> options(const std::string& cluster) const;
};

}  // namespace hearth
