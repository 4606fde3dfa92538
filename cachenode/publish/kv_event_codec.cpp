// KV events in MessagePack (msgpack.org, spec.md). The writer is ours because Debian's C++ library
// for it (libmsgpack-cxx-dev) conflicts with the Boost that Hearth is built with.
#include "cachenode/publish/kv_event_codec.h"

#include <bit>
#include <string_view>

#include "engine/model/kv_layout.h"

namespace hearth {
namespace {

// Appends values, each in its shortest form, as msgspec does.
class MsgpackWriter {
  public:
    void nil() { byte(0xc0); }
    void uint(std::uint64_t value) {
        if (value < 0x80) {
            byte(value);
        } else if (value <= 0xff) {
            tagged(0xcc, value, 1);
        } else if (value <= 0xffff) {
            tagged(0xcd, value, 2);
        } else if (value <= 0xffff'ffff) {
            tagged(0xce, value, 4);
        } else {
            tagged(0xcf, value, 8);
        }
    }
    void real(double value) { tagged(0xcb, std::bit_cast<std::uint64_t>(value), 8); }
    void text(std::string_view value) {  // Up to 255 bytes.
        CHECK(value.size() <= 0xff);
        if (value.size() < 32) {
            byte(0xa0 | value.size());
        } else {
            tagged(0xd9, value.size(), 1);
        }
        bytes_ += value;
    }
    void array(std::size_t size) { container(0x90, 0xdc, size); }
    void map(std::size_t size) { container(0x80, 0xde, size); }
    std::string take() { return std::move(bytes_); }

  private:
    void byte(std::uint64_t value) { bytes_.push_back(static_cast<char>(value)); }
    void tagged(std::uint64_t tag, std::uint64_t value, int width) {
        byte(tag);
        for (int shift = 8 * (width - 1); shift >= 0; shift -= 8) byte(value >> shift & 0xff);
    }
    void container(std::uint64_t small, std::uint64_t tag, std::size_t size) {
        if (size < 16) {
            byte(small | size);
        } else if (size <= 0xffff) {
            tagged(tag, size, 2);
        } else {
            tagged(tag + 1, size, 4);
        }
    }
    std::string bytes_;
};

// One event; in a map each value comes after its name.
class EventWriter {
  public:
    EventWriter(MsgpackWriter& out, KvEventEncoding encoding) : out_(out), encoding_(encoding) {}

    void write(const KvEvent& event) {
        switch (event.kind) {
            case KvEvent::Kind::kStored: return stored(event);
            case KvEvent::Kind::kRemoved: return removed(event);
            case KvEvent::Kind::kCleared: return begin("AllBlocksCleared", 0);
        }
    }

  private:
    void begin(std::string_view tag, std::size_t fields) {
        if (encoding_ == KvEventEncoding::kMap) {
            out_.map(fields + 1);
        } else {
            out_.array(fields + 1);
        }
        name("type");
        out_.text(tag);
    }
    void name(std::string_view field) {
        if (encoding_ == KvEventEncoding::kMap) out_.text(field);
    }
    void hashes(const KvEvent& event) {
        name("block_hashes");
        out_.array(event.hashes.size());
        for (const std::uint64_t hash : event.hashes) out_.uint(hash);
    }
    void medium() {
        name("medium");
        out_.text("GPU");
    }
    void stored(const KvEvent& event) {
        const bool has_keys = !event.salt_digest.empty();
        // An array has every field; of a map what has its default stays out.
        begin("BlockStored", has_keys || encoding_ == KvEventEncoding::kArray ? 8 : 7);
        hashes(event);
        name("parent_block_hash");
        event.parent ? out_.uint(*event.parent) : out_.nil();
        name("token_ids");
        out_.array(event.tokens.size());
        for (const engine::TokenId id : event.tokens) out_.uint(static_cast<std::uint64_t>(id));
        name("block_size");
        out_.uint(engine::kPageTokens);
        name("lora_id");
        out_.nil();
        medium();
        name("lora_name");
        out_.nil();
        if (!has_keys) {
            if (encoding_ == KvEventEncoding::kArray) out_.nil();
            return;
        }
        name("extra_keys");  // One a block; vLLM's has the salt in a prompt's first block alone.
        out_.array(event.hashes.size());
        out_.array(1);
        out_.text(event.salt_digest);
        for (std::size_t i = 1; i < event.hashes.size(); ++i) out_.nil();
    }
    void removed(const KvEvent& event) {
        begin("BlockRemoved", 2);
        hashes(event);
        medium();
    }

    MsgpackWriter& out_;
    KvEventEncoding encoding_;
};

}  // namespace

std::string encode_kv_events(double unix_seconds, std::span<const KvEvent> events,
                             KvEventEncoding encoding) {
    MsgpackWriter out;
    out.array(3);
    out.real(unix_seconds);
    out.array(events.size());
    EventWriter writer(out, encoding);
    for (const KvEvent& event : events) writer.write(event);
    out.uint(0);
    return out.take();
}

std::string sequence_bytes(std::uint64_t sequence) {
    std::string out;
    for (int shift = 56; shift >= 0; shift -= 8)
        out.push_back(static_cast<char>(sequence >> shift & 0xff));
    return out;
}

}  // namespace hearth
