// Frames, little-endian. Head: magic 4, kind 2, tokens 2, bytes of meta 4, count 4, hash before 16,
// hash 16, checksum of the page 8; then 8 bytes of XXH3-64 over head and meta; then meta; then, of
// a page, its bytes.
#include "cachenode/transfer/frame.h"

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <utility>

#include "cachenode/kv/page_checksum.h"
#include "common/base/check.h"
#include "engine/model/kv_layout.h"

namespace hearth {
namespace {

using engine::TokenId;
constexpr std::uint32_t kMagic = 0x31464b48;  // "HKF1"
constexpr std::uint16_t kSessionKind = 1, kPageKind = 2, kEndKind = 3;
constexpr std::size_t kProofBytes = 8;
static_assert(sizeof(TokenId) == 4);

template <typename T>
void put(std::string& out, T value) {
    for (std::size_t i = 0; i < sizeof(T); ++i)
        out += static_cast<char>(static_cast<std::uint64_t>(value) >> (8 * i) & 0xff);
}

// Reads numbers off the front; past the end it says so once, at the end.
class Reader {
  public:
    explicit Reader(std::span<const std::byte> bytes) : bytes_(bytes) {}
    template <typename T>
    T get() {
        std::uint64_t value = 0;
        const auto raw = take(sizeof(T));
        for (std::size_t i = 0; i < raw.size(); ++i)
            value |= std::to_integer<std::uint64_t>(raw[i]) << (8 * i);
        return static_cast<T>(value);
    }
    std::span<const std::byte> take(std::size_t count) {
        if (count > bytes_.size()) is_short_ = true;
        if (is_short_) return {};
        const auto out = bytes_.first(count);
        bytes_ = bytes_.subspan(count);
        return out;
    }
    bool is_short() const { return is_short_; }
    std::size_t left() const { return bytes_.size(); }

  private:
    std::span<const std::byte> bytes_;
    bool is_short_ = false;
};

void put_tokens(std::string& out, std::span<const TokenId> tokens) {
    for (const TokenId id : tokens) put(out, static_cast<std::uint32_t>(id));
}

std::vector<TokenId> tokens_from(Reader& in, std::size_t count) {
    std::vector<TokenId> out;
    if (count * sizeof(TokenId) > in.left()) return out;
    out.reserve(count);
    for (std::size_t i = 0; i < count; ++i) out.push_back(in.get<TokenId>());
    return out;
}

struct HeadFields {
    std::uint16_t kind = 0, tokens = 0;
    std::uint32_t count = 0;
    PageHash before = {}, hash = {};
    std::uint64_t checksum = 0;
};

std::uint64_t proof_of(std::string_view head, std::string_view meta) {
    const std::string both = std::string(head) + std::string(meta);
    return page_checksum(reinterpret_cast<const std::byte*>(both.data()), both.size());
}

std::string frame(const HeadFields& fields, std::string_view meta) {
    std::string out;
    put(out, kMagic);
    put(out, fields.kind);
    put(out, fields.tokens);
    put(out, static_cast<std::uint32_t>(meta.size()));
    put(out, fields.count);
    for (const PageHash& hash : {fields.before, fields.hash}) {
        put(out, hash.high);
        put(out, hash.low);
    }
    put(out, fields.checksum);
    CHECK(out.size() == kFrameHeadBytes);
    put(out, proof_of(out, meta));
    return out.append(meta);
}

Error bad(const char* what) {
    return make_error(ErrorCode::kCorrupt, std::string("a frame between nodes: ") + what);
}

}  // namespace

std::string wire_format(std::uint64_t model_fingerprint, std::size_t page_bytes) {
    char text[96];
    std::snprintf(text, sizeof text, "1-%016llx-%016llx-%zu",
                  static_cast<unsigned long long>(page_format_probe()),
                  static_cast<unsigned long long>(model_fingerprint), page_bytes);
    return text;
}

std::string page_frame_head(const CachedPage& page) {
    CHECK(!page.tokens.empty() && page.tokens.size() <= engine::kPageTokens);
    std::string meta;
    put_tokens(meta, page.tokens);
    return frame({kPageKind, static_cast<std::uint16_t>(page.tokens.size()), 0, page.before,
                  page.hash, page.checksum},
                 meta);
}

std::string session_frame(const WireSession& session) {
    std::string meta;
    put(meta, session.key.high);
    put(meta, session.key.low);
    for (const std::int64_t number :
         {session.stored, session.turn, session.epoch, session.age_ms, session.first_page})
        put(meta, number);
    put(meta, static_cast<std::uint32_t>(session.unstored));
    put(meta, static_cast<std::uint32_t>(session.salt.size()));
    meta += session.salt;
    put_tokens(meta, session.tokens);
    return frame({.kind = kSessionKind}, meta);
}

std::string end_frame(std::uint32_t pages) {
    return frame({.kind = kEndKind, .count = pages}, {});
}

void FrameReader::begin(Part part) {
    part_ = part;
    have_ = 0;
}

std::span<std::byte> FrameReader::wanted() {
    switch (part_) {
        case Part::kHead: return std::span(head_bytes_).subspan(have_);
        case Part::kMeta: return std::span(meta_).subspan(have_);
        case Part::kPage: return std::span(page_.bytes.get(), page_bytes_).subspan(have_);
    }
    return {};
}

Result<void> FrameReader::advance(std::size_t bytes) {
    if (at_end_ && bytes > 0) return bad("bytes behind the end");
    CHECK(bytes <= wanted().size());
    have_ += bytes;
    // A part may be empty, and then the next one is there at once.
    for (bool is_whole = wanted().empty(); is_whole;) {
        const Part part = part_;
        Result<void> read = part == Part::kHead   ? read_head()
                            : part == Part::kMeta ? read_meta()
                                                  : read_page();
        if (!read) return read;
        is_whole = wanted().empty();
    }
    return {};
}

Result<void> FrameReader::feed(std::string_view bytes) {
    while (!bytes.empty()) {
        if (at_end_) return bad("bytes behind the end");
        const std::span<std::byte> into = wanted();
        const std::size_t count = std::min(into.size(), bytes.size());
        std::memcpy(into.data(), bytes.data(), count);
        bytes.remove_prefix(count);
        if (auto read = advance(count); !read) return read;
    }
    return {};
}

Result<void> FrameReader::read_head() {
    Reader in(head_bytes_);
    if (in.get<std::uint32_t>() != kMagic) return bad("not one");
    head_ = {};
    head_.kind = in.get<std::uint16_t>();
    head_.tokens = in.get<std::uint16_t>();
    head_.meta_bytes = in.get<std::uint32_t>();
    head_.count = in.get<std::uint32_t>();
    for (PageHash* hash : {&head_.before, &head_.hash}) {
        hash->high = in.get<std::uint64_t>();
        hash->low = in.get<std::uint64_t>();
    }
    head_.checksum = in.get<std::uint64_t>();
    // Only what such a frame can have gets room.
    const bool is_page = head_.kind == kPageKind && head_.tokens >= 1 &&
                         head_.tokens <= engine::kPageTokens &&
                         head_.meta_bytes == head_.tokens * sizeof(TokenId);
    const bool is_session = head_.kind == kSessionKind && head_.meta_bytes <= kSessionBytesMax;
    const bool is_end = head_.kind == kEndKind && head_.meta_bytes == 0;
    if (!is_page && !is_session && !is_end) return bad("of no kind, or of a wrong length");
    meta_.resize(head_.meta_bytes);
    begin(Part::kMeta);
    return {};
}

Result<void> FrameReader::read_meta() {
    const auto text = [](std::span<const std::byte> bytes) {
        return std::string_view(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    };
    const std::span<const std::byte> all = head_bytes_;
    Reader proof(all.last(kProofBytes));
    const std::span<const std::byte> head = all.first(kFrameHeadBytes);
    if (proof_of(text(head), text(meta_)) != proof.get<std::uint64_t>())
        return bad("head and ids do not match their checksum");
    if (head_.kind == kSessionKind) return read_session();
    if (head_.kind == kEndKind) {
        if (head_.count != pages_seen_) return bad("pages are missing");
        at_end_ = true;
        begin(Part::kHead);
        return {};
    }
    Reader in(meta_);
    page_.before = head_.before;
    page_.hash = head_.hash;
    page_.checksum = head_.checksum;
    page_.tokens = tokens_from(in, head_.tokens);
    if (room_) page_.bytes = room_();
    if (!page_.bytes) page_.bytes = std::make_shared_for_overwrite<std::byte[]>(page_bytes_);
    begin(Part::kPage);
    return {};
}

Result<void> FrameReader::read_page() {
    if (page_checksum(page_.bytes.get(), page_bytes_) != page_.checksum)
        return bad("a page does not match its checksum");
    if (chain_hash(page_.before, page_.tokens) != page_.hash)
        return bad("a page has another's name");
    pages_.push_back(std::exchange(page_, {}));
    ++pages_seen_;
    begin(Part::kHead);
    return {};
}

Result<void> FrameReader::read_session() {
    Reader in(meta_);
    WireSession out;
    out.key.high = in.get<std::uint64_t>();
    out.key.low = in.get<std::uint64_t>();
    for (std::int64_t* number : {&out.stored, &out.turn, &out.epoch, &out.age_ms, &out.first_page})
        *number = in.get<std::int64_t>();
    const auto unstored = in.get<std::uint32_t>();
    const auto salt_bytes = in.get<std::uint32_t>();
    if (salt_bytes > kWireSaltBytesMax) return bad("a salt that is too long");
    const std::span<const std::byte> salt = in.take(salt_bytes);
    out.salt.assign(reinterpret_cast<const char*>(salt.data()), salt.size());
    if (in.is_short() || in.left() % sizeof(TokenId) != 0) return bad("a session cut off");
    out.tokens = tokens_from(in, in.left() / sizeof(TokenId));
    const auto tokens = static_cast<std::int64_t>(out.tokens.size());
    const bool is_sane = out.stored >= 0 && out.stored <= tokens && out.turn >= 0 &&
                         out.epoch >= 0 && out.age_ms >= 0 && out.first_page >= 0 &&
                         out.first_page <= tokens / engine::kPageTokens &&
                         unstored <= static_cast<std::uint32_t>(MissReason::kDeclined);
    if (!is_sane) return bad("a session whose numbers contradict each other");
    out.unstored = static_cast<MissReason>(unstored);
    sessions_.push_back(std::move(out));
    if (sessions_.size() > 1) return bad("more than one session");
    begin(Part::kHead);
    return {};
}

}  // namespace hearth
