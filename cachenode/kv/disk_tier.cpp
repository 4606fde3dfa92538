// Segments in a ring: appended at one end, dropped at the other; what is used again is rewritten
// before it is dropped.
#include "cachenode/kv/disk_tier.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cinttypes>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <utility>

#include "common/base/check.h"
#include "common/base/log.h"

namespace hearth {
namespace {

constexpr std::int64_t kSegments = 16;  // At least; dropping one loses that share at most.
constexpr std::int64_t kSegmentBytesMax = 256LL << 20;
constexpr MonotonicNs kLate = 50 * kMs;      // A turn waits so long for a write's pins.
constexpr MonotonicNs kPause = 5 * kSecond;  // After a disk that is full or fails.
constexpr double kLoadBytesPerS = 500e6;     // Until it was measured.
constexpr const char* kSuffix = ".kvlog";
// Of segments with few, hence large, records the headers are read as quickly as an index.
constexpr std::int32_t kIndexedSlotsMin = 512;

std::int32_t slots_per_segment(std::int64_t bytes_max, std::int64_t slot_bytes) {
    const std::int64_t bytes = std::min(bytes_max / kSegments, kSegmentBytesMax);
    return static_cast<std::int32_t>(std::max<std::int64_t>(1, bytes / slot_bytes));
}

}  // namespace

DiskTier::DiskTier(const DiskTierOptions& options, const Clock& clock, std::function<void()> wake)
    : options_(options),
      clock_(clock),
      slot_bytes_(DiskSegment::slot_bytes(options.page_bytes)),
      segment_slots_(slots_per_segment(options.bytes_max, slot_bytes_)),
      jobs_(options.has_threads, std::move(wake)) {}

DiskTier::~DiskTier() {
    if (lock_ >= 0) close(lock_);
}

Result<std::unique_ptr<DiskTier>> DiskTier::open(const DiskTierOptions& options, const Clock& clock,
                                                 std::function<void()> wake) {
    std::unique_ptr<DiskTier> tier(new DiskTier(options, clock, std::move(wake)));
    if (options.bytes_max < kSegments * tier->slot_bytes_) {
        return make_error(ErrorCode::kInvalidArgument,
                          "kv_disk_bytes: must hold " + std::to_string(kSegments) + " pages of " +
                              std::to_string(tier->slot_bytes_) + " bytes");
    }
    if (auto locked = tier->lock_folder(); !locked) return locked.error();
    if (auto read = tier->read_folder(); !read) return read.error();
    return tier;
}

Result<void> DiskTier::lock_folder() {
    std::error_code error;
    std::filesystem::create_directories(options_.folder, error);
    const std::string path = options_.folder + "/lock";
    lock_ = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (lock_ < 0) {
        return make_error(ErrorCode::kUnavailable,
                          "kv_disk: cannot write " + path + ": " + std::strerror(errno));
    }
    if (flock(lock_, LOCK_EX | LOCK_NB) == 0) return {};
    return make_error(ErrorCode::kUnavailable, "kv_disk: another node uses " + options_.folder);
}

std::string DiskTier::path_of(std::uint32_t id) const {
    char name[16];
    std::snprintf(name, sizeof name, "%08" PRIx32, id);
    return options_.folder + "/" + name + kSuffix;
}

Result<void> DiskTier::read_folder() {
    std::error_code error;
    std::vector<std::uint32_t> ids;
    for (const auto& entry : std::filesystem::directory_iterator(options_.folder, error)) {
        if (entry.path().extension() != kSuffix) continue;
        const std::string stem = entry.path().stem().string();
        ids.push_back(static_cast<std::uint32_t>(std::strtoul(stem.c_str(), nullptr, 16)));
    }
    if (error) {
        return make_error(ErrorCode::kUnavailable,
                          "kv_disk: cannot list " + options_.folder + ": " + error.message());
    }
    std::sort(ids.begin(), ids.end());
    std::int64_t slots = 0;
    for (const std::uint32_t id : ids) {
        slots +=
            static_cast<std::int64_t>(std::filesystem::file_size(path_of(id), error)) / slot_bytes_;
    }
    index_.reserve(static_cast<std::size_t>(std::max<std::int64_t>(0, slots)));
    for (const std::uint32_t id : ids) {
        next_segment_ = std::max(next_segment_, id + 1);
        if (auto read = read_segment(id); !read) {
            log::warn("a segment of the disk tier is left out", {{"error", read.error().message}});
        }
    }
    for (Segment& each : segments_) seal(each);
    while (bytes() + index_bytes_max() > options_.bytes_max) drop_oldest();
    counters_.evicted = 0;
    return {};
}

Result<void> DiskTier::read_segment(std::uint32_t id) {
    Segment found;
    found.id = id;
    found.file = std::make_shared<DiskSegment>(
        path_of(id), PageRecordFacts{options_.fingerprint, options_.page_bytes, 0});
    auto slots = found.file->read_index();
    const bool has_index = slots.has_value();
    if (!has_index) {
        slots.emplace();
        const auto scanned = found.file->scan([&](std::int32_t slot, const PageRecordHeader& head) {
            slots->resize(static_cast<std::size_t>(slot) + 1);
            slots->back() = {head.hash, head.owner};
        });
        if (!scanned) return scanned.error();
        if (slots->empty()) {  // Another model's, or nothing at all.
            found.file->remove();
            return {};
        }
        slots->resize(static_cast<std::size_t>(*scanned));
    }
    found.names.reserve(slots->size());
    for (const SlotName& name : *slots) {
        const auto slot = static_cast<std::int32_t>(found.names.size());
        found.names.push_back(name.hash);
        // A younger record of the same page replaces an older one.
        if (name.hash != PageHash{}) index_[name.hash] = {id, slot, name.owner};
    }
    if (has_index) found.index_bytes = SegmentIndex::file_bytes(std::ssize(*slots));
    index_bytes_ += found.index_bytes;
    slots_ += std::ssize(*slots);
    segments_.push_back(std::move(found));
    return {};
}

// Of a segment that is full and written. The job is none of the writes: those may be given up.
void DiskTier::seal(Segment& segment) {
    if (segment.index_bytes > 0 || segment.writing > 0 || segment.id + 1 == next_segment_ ||
        std::ssize(segment.names) < kIndexedSlotsMin) {
        return;
    }
    std::vector<SlotName> slots;
    slots.reserve(segment.names.size());
    for (const PageHash& name : segment.names) {
        const auto at = index_.find(name);
        const bool is_here = at != index_.end() && at->second.segment == segment.id &&
                             at->second.slot == std::ssize(slots);
        slots.push_back(is_here ? SlotName{name, at->second.owner} : SlotName{});
    }
    segment.index_bytes = SegmentIndex::file_bytes(std::ssize(slots));
    index_bytes_ += segment.index_bytes;
    jobs_.read([slots = std::move(slots), file = segment.file]() mutable -> DiskJobs::Done {
        const Result<void> result = file->write_index(std::move(slots));
        if (!result) log::warn("a start will take longer", {{"error", result.error().message}});
        return {};
    });
}

// What the segment that is being filled will add.
std::int64_t DiskTier::index_bytes_max() const {
    return segment_slots_ < kIndexedSlotsMin ? 0 : SegmentIndex::file_bytes(segment_slots_);
}

DiskTier::Segment* DiskTier::segment(std::uint32_t id) {
    const auto at =
        std::lower_bound(segments_.begin(), segments_.end(), id,
                         [](const Segment& s, std::uint32_t sought) { return s.id < sought; });
    return at != segments_.end() && at->id == id ? &*at : nullptr;
}

void DiskTier::drop_oldest() {
    CHECK(!segments_.empty());
    Segment& oldest = segments_.front();
    for (const PageHash& name : oldest.names) {
        const auto at = index_.find(name);
        if (at == index_.end() || at->second.segment != oldest.id) continue;
        index_.erase(at);
        ++counters_.evicted;
    }
    slots_ -= std::ssize(oldest.names);
    index_bytes_ -= oldest.index_bytes;
    oldest.file->remove();
    segments_.pop_front();
}

DiskTier::Place DiskTier::new_place(std::uint32_t owner) {
    while (!spare_.empty()) {
        Place place = spare_.back();
        spare_.pop_back();
        place.owner = owner;
        if (segment(place.segment) != nullptr) return place;
    }
    const bool is_full = segments_.empty() || segments_.back().id + 1 != next_segment_ ||
                         std::ssize(segments_.back().names) >= segment_slots_;
    while (bytes() + slot_bytes_ + index_bytes_max() > options_.bytes_max) drop_oldest();
    if (is_full || segments_.empty()) {
        Segment fresh;
        fresh.id = next_segment_++;
        fresh.file = std::make_shared<DiskSegment>(
            path_of(fresh.id), PageRecordFacts{options_.fingerprint, options_.page_bytes, 0});
        segments_.push_back(std::move(fresh));
        if (segments_.size() > 1) seal(segments_[segments_.size() - 2]);
    }
    Segment& last = segments_.back();
    last.names.emplace_back();
    ++slots_;
    return {last.id, static_cast<std::int32_t>(last.names.size()) - 1, owner};
}

std::vector<DiskTier::FoundPage> DiskTier::find(const PageHash& at,
                                                std::span<const engine::TokenId> rest) const {
    std::vector<FoundPage> found;
    if (index_.empty()) return found;
    PageHash before = at;
    std::size_t first = 0;
    for (; first + engine::kPageTokens <= rest.size(); first += engine::kPageTokens) {
        const PageHash hash = chain_hash(before, rest.subspan(first, engine::kPageTokens));
        if (!index_.contains(hash)) break;
        found.push_back({hash, before, first, engine::kPageTokens});
        before = hash;
    }
    // A part of a page has a name of its own: try them, the longest first.
    for (std::size_t n = std::min<std::size_t>(engine::kPageTokens - 1, rest.size() - first); n > 0;
         --n) {
        const PageHash hash = chain_hash(before, rest.subspan(first, n));
        if (!index_.contains(hash)) continue;
        found.push_back({hash, before, first, n});
        break;
    }
    return found;
}

// A page that is here already is written again when it would be among the next to be dropped.
bool DiskTier::wants(const CachedPage& page) const {
    if (pending_names_.contains(page.hash)) return false;
    const auto known = index_.find(page.hash);
    if (known == index_.end()) return true;
    const bool is_nearly_full =
        bytes() + segment_slots_ * slot_bytes_ + index_bytes_max() > options_.bytes_max;
    const std::size_t old = segments_.size() / 4;
    return is_nearly_full && old > 0 && known->second.segment <= segments_[old - 1].id;
}

bool DiskTier::is_late() const {
    return !pending_.empty() && clock_.now() - pending_.front().queued >= kLate;
}

bool DiskTier::has_room() const {
    return 2 * std::ssize(pending_) < options_.pages_pending_max && !is_late() &&
           clock_.now() >= paused_until_;
}

bool DiskTier::write_behind(PrefixTree::Lease lease) {
    bool is_all = true;
    const auto now_ms = static_cast<std::uint64_t>(clock_.unix_now());
    const auto kept = std::make_shared<PrefixTree::Lease>(std::move(lease));
    for (const CachedPage& page : kept->cached_pages()) {
        if (!wants(page)) continue;
        if (std::ssize(pending_) >= options_.pages_pending_max || clock_.now() < paused_until_) {
            ++counters_.skipped;
            is_all = false;
            continue;
        }
        queue_write(page, kept, now_ms);
    }
    return is_all;
}

void DiskTier::queue_write(const CachedPage& page, const std::shared_ptr<PrefixTree::Lease>& lease,
                           std::uint64_t now_ms) {
    const Place place = new_place(page.owner);
    ++segment(place.segment)->writing;
    pending_.push_back({page.hash, place, clock_.now()});
    pending_names_[page.hash] = true;
    const PageRecordHeader header =
        make_record_header(page, {options_.fingerprint, options_.page_bytes, now_ms});
    jobs_.write([this, lease, header, bytes = page.bytes, slot = place.slot,
                 file = segment(place.segment)->file]() -> DiskJobs::Done {
        const Result<void> result = file->write(slot, header, bytes);
        return [this, result] { written(result); };
    });
}

void DiskTier::written(const Result<void>& result) {
    const Write write = pending_.front();
    pending_.pop_front();
    pending_names_.erase(write.hash);
    Segment* const in = segment(write.place.segment);
    if (in == nullptr) return;  // Dropped meanwhile.
    --in->writing;
    if (result.ok()) {
        ++counters_.written;
        in->names[static_cast<std::size_t>(write.place.slot)] = write.hash;
        index_[write.hash] = write.place;
        seal(*in);
        return;
    }
    spare_.push_back(write.place);
    ++counters_.failures;
    if (clock_.now() >= paused_until_) {
        log::warn("the disk tier takes no pages for a while", {{"error", result.error().message}});
    }
    paused_until_ = clock_.now() + kPause;
}

std::int64_t DiskTier::shed() {
    if (!is_late()) return 0;
    const auto shed = static_cast<std::int64_t>(jobs_.drop_writes());
    for (std::int64_t left = shed; left > 0; --left) {
        ++counters_.skipped;
        spare_.push_back(pending_.back().place);
        if (Segment* const in = segment(spare_.back().segment)) --in->writing;
        pending_names_.erase(pending_.back().hash);
        pending_.pop_back();
    }
    return shed;
}

void DiskTier::load(const std::vector<FoundPage>& pages, std::vector<engine::TokenId> rest,
                    std::vector<std::byte*> into, LoadDone done) {
    CHECK(into.size() == pages.size());
    struct Source {
        std::shared_ptr<DiskSegment> file;
        std::int32_t slot = 0;
        FoundPage page;
    };
    std::vector<Source> sources;
    for (const FoundPage& page : pages) {
        const auto at = index_.find(page.hash);
        CHECK(at != index_.end());
        sources.push_back({segment(at->second.segment)->file, at->second.slot, page});
    }
    pages_loading_ += std::ssize(pages);
    jobs_.read([this, sources = std::move(sources), rest = std::move(rest), into = std::move(into),
                done = std::move(done)]() -> DiskJobs::Done {
        const MonotonicNs begin = clock_.now();
        std::vector<ReadOutcome> outcomes;
        for (std::size_t i = 0; i < sources.size(); ++i) {
            const FoundPage& page = sources[i].page;
            const WantedPage wanted{page.hash, page.before,
                                    std::span(rest).subspan(page.first, page.tokens)};
            outcomes.push_back(sources[i].file->read(sources[i].slot, wanted, into[i]));
            if (outcomes.back() != ReadOutcome::kGood) break;
        }
        const double took_s = seconds(clock_.now() - begin);
        return [this, sources, outcomes, took_s, done] {
            pages_loading_ -= std::ssize(sources);
            loaded(outcomes, took_s);
            if (outcomes.back() == ReadOutcome::kCorrupt) {  // Not to be met again.
                const auto at = index_.find(sources[outcomes.size() - 1].page.hash);
                if (at != index_.end()) index_.erase(at);
            }
            done(outcomes);
        };
    });
}

void DiskTier::loaded(const std::vector<ReadOutcome>& outcomes, double took_s) {
    constexpr double kNew = 0.2;
    for (const ReadOutcome outcome : outcomes) {
        ++(outcome == ReadOutcome::kGood      ? counters_.loaded
           : outcome == ReadOutcome::kCorrupt ? counters_.corrupt
                                              : counters_.failures);
    }
    if (took_s <= 0) return;
    const double speed = static_cast<double>(std::ssize(outcomes) * slot_bytes_) / took_s;
    load_bytes_per_s_ =
        load_bytes_per_s_ == 0 ? speed : (1 - kNew) * load_bytes_per_s_ + kNew * speed;
}

double DiskTier::load_seconds(std::int64_t pages) const {
    const double speed = load_bytes_per_s_ > 0 ? load_bytes_per_s_ : kLoadBytesPerS;
    return static_cast<double>((pages + pages_loading_) * slot_bytes_) / speed;
}

bool DiskTier::is_quicker(std::int64_t pages, double compute_s) {
    constexpr double kForgotten = 1.1;  // As of a slow peer.
    if (load_seconds(pages) <= compute_s) return true;
    if (load_bytes_per_s_ > 0) load_bytes_per_s_ *= kForgotten;
    return false;
}

std::int64_t DiskTier::erase(std::uint32_t owner) {
    std::int64_t erased = 0;
    for (auto at = index_.begin(); at != index_.end();) {
        const Place place = at->second;
        if (place.owner != owner) {
            ++at;
            continue;
        }
        at = index_.erase(at);
        ++erased;
        if (Segment* const in = segment(place.segment)) {
            in->file->drop_index();
            // Not among the writes: those may be given up.
            jobs_.read([file = in->file, slot = place.slot]() -> DiskJobs::Done {
                (void)file->wipe(slot);
                return {};
            });
        }
    }
    return erased;
}

void DiskTier::expire(std::uint64_t before_ms) {
    // The last one is being written.
    while (segments_.size() > 1 && segments_.front().file->newest_ms() < before_ms) drop_oldest();
}

DiskTierStats DiskTier::stats() const {
    DiskTierStats stats = counters_;
    stats.bytes = bytes();
    stats.bytes_max = options_.bytes_max;
    stats.pages = std::ssize(index_);
    stats.pages_pending = std::ssize(pending_);
    stats.load_bytes_per_s = load_bytes_per_s_;
    return stats;
}

}  // namespace hearth
