// Transport: how a session's pages get from one node to another.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include "cachenode/transfer/kept_texts.h"
#include "cachenode/transfer/kv_exchange.h"
#include "common/base/result.h"
#include "common/net/asio.h"

namespace hearth {

// Takes frames as they come. After each call that gives an error the transfer is over.
class FrameSink {
  public:
    virtual ~FrameSink() = default;
    virtual FrameReader& reader() = 0;
    // Some bytes were fed to the reader.
    virtual Task<Result<void>> arrived() = 0;
};

struct PullQuestion {
    SessionKey key;
    std::string salt;
    std::vector<PageHash> names;  // Empty: of the session.
};

struct PushAnswer {
    std::int64_t stored = 0;  // Tokens of the session that the peer holds now, verified.
    std::int64_t pages = 0;   // Whole pages, if it lacks some before the first that was sent.
    bool has_gap = false;     // It does: push again from `pages` on.
};

// One io_context. An answer is never proof: what comes is checked page by page, and what was pushed
// is there only if the peer says that it verified it. kCorrupt: bytes did not match their checksum;
// kUnsupported: the peer has another model or format, or does not trust us.
class Transport {
  public:
    virtual ~Transport() = default;

    // What `peer` ("host:port") holds of the session, as frames into `sink`. With `names`: of the
    // whole pages with these names, in their order, whether or not it knows the session. kNotFound:
    // nothing.
    virtual Task<Result<void>> pull(std::string peer, PullQuestion question, FrameSink& sink,
                                    std::chrono::milliseconds timeout) = 0;
    // Frames of `held`, from its session's first_page on. `owner`: the peer is to own the session
    // from now on; else it keeps a replica.
    virtual Task<Result<PushAnswer>> push(std::string peer, const HeldSession& held, bool owner,
                                          std::chrono::milliseconds timeout) = 0;

    struct Keeper {
        std::string peer;
        SessionKey key;
        std::string salt;
    };
    // What a peer keeps of a session beside KV, behind `after`. kNotFound: nothing.
    virtual Task<Result<KeptTexts::Batch>> pull_kept(Keeper from, std::uint64_t after,
                                                     std::chrono::milliseconds timeout) = 0;
    virtual Task<Result<void>> push_kept(Keeper to, std::string text,
                                         std::chrono::milliseconds timeout) = 0;
};

}  // namespace hearth
