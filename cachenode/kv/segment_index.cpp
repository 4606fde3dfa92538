// A head that says for what, the slots, and one checksum over both.
#include "cachenode/kv/segment_index.h"

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "cachenode/kv/page_checksum.h"

namespace hearth {
namespace {

constexpr std::uint64_t kMagic = 0x7865'646e'696b'7268;  // "hrkindex"
constexpr std::uint64_t kFormat = 1;

// Magic, format, model, page size, slots, newest.
using Head = std::array<std::uint64_t, 6>;
constexpr std::int64_t kCheckBytes = sizeof(std::uint64_t);
constexpr auto kOwnerOnly =
    std::filesystem::perms::owner_read | std::filesystem::perms::owner_write;

std::uint64_t checksum_of(const std::string& bytes, std::size_t size) {
    return page_checksum(reinterpret_cast<const std::byte*>(bytes.data()), size);
}

}  // namespace

std::int64_t SegmentIndex::file_bytes(std::int64_t slots) {
    return static_cast<std::int64_t>(sizeof(Head)) +
           slots * static_cast<std::int64_t>(sizeof(SlotName)) + kCheckBytes;
}

Result<void> write_segment_index(const std::string& path, const SegmentIndex& index,
                                 const PageRecordFacts& facts) {
    const Head head = {
        kMagic, kFormat, facts.fingerprint, facts.page_bytes, index.slots.size(), index.newest_ms};
    std::string bytes(reinterpret_cast<const char*>(head.data()), sizeof head);
    bytes.append(reinterpret_cast<const char*>(index.slots.data()),
                 index.slots.size() * sizeof(SlotName));
    const std::uint64_t check = checksum_of(bytes, bytes.size());
    bytes.append(reinterpret_cast<const char*>(&check), sizeof check);
    std::ofstream file(path, std::ios::binary | std::ios::trunc);
    std::error_code ignored;  // What cannot be protected cannot be written either.
    std::filesystem::permissions(path, kOwnerOnly, ignored);
    file.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
    file.close();
    if (file) return {};
    const std::string why = std::strerror(errno);
    std::remove(path.c_str());
    return make_error(ErrorCode::kUnavailable, "cannot write " + path + ": " + why);
}

std::optional<SegmentIndex> read_segment_index(const std::string& path,
                                               const PageRecordFacts& facts) {
    std::error_code none;
    const auto size = static_cast<std::size_t>(std::filesystem::file_size(path, none));
    if (none || size < sizeof(Head) + kCheckBytes) return std::nullopt;
    std::string bytes(size, '\0');
    std::ifstream file(path, std::ios::binary);
    if (!file.read(bytes.data(), static_cast<std::streamsize>(size))) return std::nullopt;
    Head head;
    std::memcpy(head.data(), bytes.data(), sizeof head);
    const std::size_t slots = (size - sizeof head - kCheckBytes) / sizeof(SlotName);
    const Head wanted = {kMagic, kFormat, facts.fingerprint, facts.page_bytes, slots, head[5]};
    const auto exact =
        static_cast<std::size_t>(SegmentIndex::file_bytes(static_cast<std::int64_t>(slots)));
    std::uint64_t check = 0;
    std::memcpy(&check, bytes.data() + size - kCheckBytes, sizeof check);
    if (size != exact || head != wanted || check != checksum_of(bytes, size - kCheckBytes))
        return std::nullopt;
    SegmentIndex index;
    index.newest_ms = head[5];
    index.slots.resize(slots);
    std::memcpy(index.slots.data(), bytes.data() + sizeof head, slots * sizeof(SlotName));
    return index;
}

}  // namespace hearth
