// Plain pread and pwrite: the page cache does the rest, and a record proves itself.
#include "cachenode/kv/disk_segment.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <vector>

#include "cachenode/kv/page_checksum.h"

namespace hearth {
namespace {

Error failed(const std::string& what, const std::string& path) {
    return make_error(ErrorCode::kUnavailable, what + " " + path + ": " + std::strerror(errno));
}

bool write_all(int file, const void* from, std::size_t size, std::int64_t at) {
    const char* bytes = static_cast<const char*>(from);
    while (size > 0) {
        const ssize_t written = pwrite(file, bytes, size, at);
        if (written < 0 && errno == EINTR) continue;
        if (written <= 0) {
            if (written == 0) errno = ENOSPC;
            return false;
        }
        bytes += written;
        at += written;
        size -= static_cast<std::size_t>(written);
    }
    return true;
}

// How many bytes there were, up to `size`; negative on an error.
ssize_t read_some(int file, void* into, std::size_t size, std::int64_t at) {
    std::size_t done = 0;
    while (done < size) {
        const ssize_t got = pread(file, static_cast<char*>(into) + done, size - done,
                                  at + static_cast<std::int64_t>(done));
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return got;
        if (got == 0) break;
        done += static_cast<std::size_t>(got);
    }
    return static_cast<ssize_t>(done);
}

}  // namespace

DiskSegment::~DiskSegment() {
    if (file_ >= 0) close(file_);
}

Result<int> DiskSegment::descriptor(bool make) {
    if (const int file = file_; file >= 0) return file;
    const int opened = open(path_.c_str(), O_RDWR | O_CLOEXEC | (make ? O_CREAT : 0), 0600);
    if (opened < 0) return failed("cannot open", path_);
    int none = -1;
    if (file_.compare_exchange_strong(none, opened)) return opened;
    close(opened);
    return none;
}

Result<void> DiskSegment::write(std::int32_t slot, const PageRecordHeader& header,
                                const std::byte* page) {
    auto file = descriptor(true);
    if (!file) return file.error();
    // The header last: until it is there the slot holds nothing.
    const std::int64_t at = offset(slot);
    const bool ok =
        write_all(*file, page, facts_.page_bytes, at + static_cast<std::int64_t>(sizeof(header))) &&
        write_all(*file, &header, sizeof(header), at);
    if (!ok) return failed("cannot write", path_);
    newest_ms_ = std::max<std::uint64_t>(newest_ms_, header.written_ms);
    return {};
}

ReadOutcome DiskSegment::read(std::int32_t slot, const WantedPage& wanted, std::byte* page) {
    auto file = descriptor(false);
    if (!file) return ReadOutcome::kFailed;
    PageRecordHeader header;
    const std::int64_t at = offset(slot);
    const ssize_t head = read_some(*file, &header, sizeof(header), at);
    if (head < 0) return ReadOutcome::kFailed;
    if (head < static_cast<ssize_t>(sizeof(header)) || !is_valid(header, facts_)) {
        return ReadOutcome::kCorrupt;
    }
    const bool is_wanted =
        header.hash == wanted.hash && header.before == wanted.before &&
        std::ranges::equal(std::span(header.ids).first(header.tokens), wanted.tokens);
    if (!is_wanted) return ReadOutcome::kCorrupt;
    const ssize_t got =
        read_some(*file, page, facts_.page_bytes, at + static_cast<std::int64_t>(sizeof(header)));
    if (got < 0) return ReadOutcome::kFailed;
    const bool is_sound = got == static_cast<ssize_t>(facts_.page_bytes) &&
                          page_checksum(page, facts_.page_bytes) == header.checksum;
    return is_sound ? ReadOutcome::kGood : ReadOutcome::kCorrupt;
}

Result<void> DiskSegment::wipe(std::int32_t slot) {
    auto file = descriptor(false);
    if (!file) return file.error();
    const std::vector<char> zeros(static_cast<std::size_t>(slot_bytes(facts_.page_bytes)));
    if (!write_all(*file, zeros.data(), zeros.size(), offset(slot))) {
        return failed("cannot wipe", path_);
    }
    return {};
}

void DiskSegment::remove() {
    drop_index();
    unlink(path_.c_str());
}

Result<std::int32_t> DiskSegment::slots() {
    auto file = descriptor(false);
    if (!file) return file.error();
    struct stat facts = {};
    if (fstat(*file, &facts) != 0) return failed("cannot look at", path_);
    const std::int64_t slot = slot_bytes(facts_.page_bytes);
    return static_cast<std::int32_t>((facts.st_size + slot - 1) / slot);
}

std::optional<std::vector<SlotName>> DiskSegment::read_index() {
    const auto there = slots();
    auto index = read_segment_index(index_path(), facts_);
    if (!there || !index || std::ssize(index->slots) != *there) return std::nullopt;
    newest_ms_ = index->newest_ms;
    return std::move(index->slots);
}

Result<void> DiskSegment::write_index(std::vector<SlotName> names) {
    const std::lock_guard lock(index_mutex_);
    if (index_dropped_) return {};
    return write_segment_index(index_path(), {newest_ms_, std::move(names)}, facts_);
}

void DiskSegment::drop_index() {
    const std::lock_guard lock(index_mutex_);
    index_dropped_ = true;
    unlink(index_path().c_str());
}

Result<std::int32_t> DiskSegment::scan(const Visit& visit) {
    auto file = descriptor(false);
    if (!file) return file.error();
    const auto count = slots();
    if (!count) return count.error();
    const std::int64_t slot = slot_bytes(facts_.page_bytes);
    // Small records are read many at a time, of large ones the header alone.
    const std::int64_t at_once = std::max<std::int64_t>(1, (256 << 10) / slot);
    const auto chunk =
        static_cast<std::size_t>(at_once == 1 ? sizeof(PageRecordHeader) : at_once * slot);
    std::vector<char> bytes(chunk);
    for (std::int32_t first = 0; first < *count; first += static_cast<std::int32_t>(at_once)) {
        const ssize_t got = read_some(*file, bytes.data(), chunk, offset(first));
        if (got < 0) return failed("cannot read", path_);
        for (std::int32_t i = 0; i < at_once; ++i) {
            const auto at = static_cast<std::size_t>(i * slot);
            PageRecordHeader header;
            if (at + sizeof(header) > static_cast<std::size_t>(got)) break;
            std::memcpy(&header, bytes.data() + at, sizeof(header));
            if (!is_valid(header, facts_)) continue;
            newest_ms_ = std::max<std::uint64_t>(newest_ms_, header.written_ms);
            visit(first + i, header);
        }
    }
    return *count;
}

}  // namespace hearth
