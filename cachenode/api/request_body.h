// RequestBody: one request's body in memory, within what all bodies of the node may take together.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "common/base/result.h"
#include "common/net/http_server.h"

namespace hearth {

// Bytes that all bodies hold at once, so that many connections with large bodies cannot take the
// node's memory. One io_context's thread; outlives every body.
class BodyBudget {
  public:
    explicit BodyBudget(std::size_t bytes_max) : bytes_max_(bytes_max) {}

    bool take(std::size_t bytes) {
        if (bytes > bytes_max_ - used_) return false;
        used_ += bytes;
        return true;
    }
    void give_back(std::size_t bytes) { used_ -= bytes; }
    std::size_t used() const { return used_; }

  private:
    const std::size_t bytes_max_;
    std::size_t used_ = 0;  // <= bytes_max_.
};

// Lives in its connection's coroutine, no longer than the text is needed.
class RequestBody {
  public:
    explicit RequestBody(BodyBudget& budget) : budget_(budget) {}
    ~RequestBody() { budget_.give_back(text_.size()); }
    RequestBody(const RequestBody&) = delete;
    RequestBody& operator=(const RequestBody&) = delete;

    // The whole body; once. kTooLarge beyond `limit`, kExhausted when the budget is used up.
    Task<Result<void>> read(ServerExchange& exchange, std::size_t limit);

    std::string_view text() const { return std::string_view(text_).substr(0, size_); }

  private:
    BodyBudget& budget_;
    std::string text_;  // Its size is what it has of the budget.
    std::size_t size_ = 0;
};

}  // namespace hearth
