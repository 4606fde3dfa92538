// How a link is made: a name becomes addresses, and Sentinel says which server is the master.
#pragma once

#include <memory>
#include <string>

#include "common/redis/link.h"
#include "common/redis/redis_store.h"

namespace hearth {

// One io_context. Connects to "host:port", trying each address of the name; kUnavailable, kTimeout.
// `link` is set before anything is waited for on it: closing it ends the call with kCancelled.
Task<Result<void>> dial(asio::io_context& io, const std::string& host_port,
                        const RedisOptions& options, std::shared_ptr<Link>& link);

// host:port of options.master_name as the first of options.sentinels that answers has it
// (redis.io/docs/reference/sentinel-clients, steps 1 and 2). The one that answered is asked first
// the next time. kUnavailable names every sentinel's failure.
Task<Result<std::string>> find_master(asio::io_context& io, RedisOptions& options,
                                      std::shared_ptr<Link>& link);

}  // namespace hearth
