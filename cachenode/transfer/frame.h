// Frames: how pages and sessions look between two nodes. Pure; the reader trusts nothing.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "cachenode/kv/miss_reason.h"
#include "cachenode/kv/page_hash.h"
#include "cachenode/kv/prefix_tree.h"
#include "common/base/result.h"
#include "common/wire/session_key.h"
#include "engine/model/config.h"

namespace hearth {

constexpr std::size_t kFrameHeadBytes = 56;
// A session's token ids and salt; a frame that says more is refused before any of it is read.
constexpr std::size_t kSessionBytesMax = 64 << 20;
constexpr std::size_t kWireSaltBytesMax = 64;
// A reader that wants so much, most of a page, is read into directly; heads and small pages come
// many at a time through a buffer.
constexpr std::size_t kDirectBytes = 32 << 10;

// Of a session, what the next turn needs besides its pages.
struct WireSession {
    SessionKey key;
    std::string salt;
    std::vector<engine::TokenId> tokens;          // As the next prompt will render them.
    std::int64_t stored = 0;                      // So many of them have their KV in the pages.
    MissReason unstored = MissReason::kCapacity;  // Why the others have not.
    std::int64_t turn = 0;
    std::int64_t epoch = 0;       // Of its owner, whom the receiver comes after.
    std::int64_t age_ms = 0;      // Since its last turn.
    std::int64_t first_page = 0;  // Pages before it are taken to be there.
};

// One page and its proof.
struct WirePage {
    PageHash before, hash;
    std::vector<engine::TokenId> tokens;  // 1 to 64.
    std::uint64_t checksum = 0;           // page_checksum() of the bytes.
    std::shared_ptr<std::byte[]> bytes;   // page_bytes long; 64-byte aligned not promised.
};

// What both sides must have in common, as text: frame version, page format, model, page size.
std::string wire_format(std::uint64_t model_fingerprint, std::size_t page_bytes);

// Head and ids of a page's frame; the page's bytes follow as they are.
std::string page_frame_head(const CachedPage& page);
std::string session_frame(const WireSession& session);
std::string end_frame(std::uint32_t pages);

// Takes a stream apart. Checks every length before it makes room, and every checksum before it
// hands anything out: a frame of which any bit was changed is never seen. One owner. After an error
// the rest of the stream is of no use.
class FrameReader {
  public:
    explicit FrameReader(std::size_t page_bytes) : page_bytes_(page_bytes) {}

    using Room = std::function<std::shared_ptr<std::byte[]>()>;
    // Where pages go from now on, page_bytes each; null or none given: into memory of their own.
    void use_room(Room room) { room_ = std::move(room); }

    // Where the next bytes of the stream go; never empty before the end.
    std::span<std::byte> wanted();
    // So many bytes were put there. kCorrupt, kTooLarge: the stream is bad.
    Result<void> advance(std::size_t bytes);
    // The same, from a buffer.
    Result<void> feed(std::string_view bytes);

    // What has come whole since the last call.
    std::vector<WirePage> take_pages() { return std::exchange(pages_, {}); }
    const std::vector<WireSession>& sessions() const { return sessions_; }
    bool at_end() const { return at_end_; }  // The end frame came, and its count was right.

  private:
    enum class Part { kHead, kMeta, kPage };
    struct Head {
        std::uint16_t kind = 0, tokens = 0;
        std::uint32_t meta_bytes = 0, count = 0;
        PageHash before, hash;
        std::uint64_t checksum = 0;
    };
    Result<void> read_head();
    Result<void> read_meta();
    Result<void> read_page();
    Result<void> read_session();
    void begin(Part part);

    std::size_t page_bytes_;
    Room room_;
    Part part_ = Part::kHead;
    std::size_t have_ = 0;  // Bytes of the part.
    std::array<std::byte, kFrameHeadBytes + 8> head_bytes_{};
    Head head_;
    std::vector<std::byte> meta_;
    WirePage page_;
    std::uint32_t pages_seen_ = 0;
    bool at_end_ = false;
    std::vector<WirePage> pages_;
    std::vector<WireSession> sessions_;
};

}  // namespace hearth
