// DnsSource: members from A, AAAA and SRV records, asked for on a thread of its own.
#pragma once

#include <atomic>
#include <string>
#include <thread>
#include <vector>

#include "common/base/result.h"
#include "router/config.h"

namespace hearth {

// All nodes behind these names ("name:port" or "srv:name"), through the system's resolver; blocks.
// An id is `name.ip:port` with the address's ':' as '-', or the SRV record's target (with its port
// where a target has several). An error of one name is the error of all: half an answer would
// scatter sessions.
Result<std::vector<StaticNode>> nodes_from_dns(const std::vector<std::string>& names);

// Owned by one coroutine. One question at a time; its end waits for the resolver, which cannot be
// interrupted but gives up after two seconds for each name server.
class DnsSource {
  public:
    explicit DnsSource(std::vector<std::string> names) : names_(std::move(names)) {}
    ~DnsSource();
    DnsSource(const DnsSource&) = delete;
    DnsSource& operator=(const DnsSource&) = delete;

    void ask();
    bool answered() const { return done_; }
    Result<std::vector<StaticNode>> take();  // Once, after answered().

  private:
    const std::vector<std::string> names_;
    std::thread worker_;
    std::atomic<bool> done_ = false;
    Result<std::vector<StaticNode>> answer_ = make_error(ErrorCode::kUnavailable, "not asked");
};

}  // namespace hearth
