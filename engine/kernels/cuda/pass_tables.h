// PassTables: what a pass tells its kernels about rows, pages and attention, in device memory.
#pragma once

#include <span>
#include <vector>

#include "engine/kernels/cuda/attend_plan.h"
#include "engine/kernels/cuda/machine.h"
#include "engine/kernels/cuda/page_slots.h"
#include "engine/kernels/cuda/sample_kernels.h"

namespace hearth::engine::cuda {

// An array on the device and the host's copy of it: only what changed is sent again.
template <typename T>
class DeviceArray {
  public:
    // Makes `values` the array's first values. Grows; then the address changes, and `moved` is set.
    void set(std::span<const T> values, class Uploads& uploads, bool& moved);
    const T* data() const { return reinterpret_cast<const T*>(memory_.get()); }
    T* data() { return reinterpret_cast<T*>(memory_.get()); }
    std::size_t capacity() const { return host_.size(); }
    const std::vector<T>& host() const { return host_; }

  private:
    std::shared_ptr<std::byte> memory_;
    std::vector<T> host_;
};

// Copies of small things to the device by way of pinned memory, which is free again two turns
// later: what a pass sends is on its way while the next one is prepared.
class Uploads {
  public:
    explicit Uploads(Machine& machine) : machine_(machine) {}
    // Between two turns the caller has waited for what the one before the last sent.
    void next_turn();
    void send(void* to, const void* from, std::size_t bytes);
    Machine& machine() { return machine_; }
    std::int64_t bytes_sent() const { return bytes_sent_; }

  private:
    struct Turn {
        std::shared_ptr<std::byte> memory;
        std::vector<std::shared_ptr<std::byte>> outgrown;  // Still read by copies under way.
        std::size_t size = 0, used = 0;
        int sent = -1;  // Event.
    };
    Machine& machine_;
    Turn turns_[2];
    int turn_ = 0;
    std::int64_t bytes_sent_ = 0;
};

// Attention of one window as kernels are given it; counts are what the launch has room for.
struct WindowTables {
    std::int32_t window = 0;
    AttendPlan plan;
    DeviceArray<AttendItem> single, shared;
    DeviceArray<CombineItem> combine;
    DeviceArray<std::int32_t> counts;  // single, shared, combine
};

struct TableOptions {
    KvLayout kv;
    std::int32_t heads = 0;
    std::vector<std::int32_t> windows;     // Those of the layers, each once.
    std::vector<std::int32_t> bank_order;  // As layers read them, each once.
    std::byte* arena = nullptr;            // Slot i's page is at i * kv.page_bytes().
};

// One owner thread. Fill, then kernels may be launched that read it.
class PassTables {
  public:
    PassTables(Machine& machine, TableOptions options);

    // Pages of the pass get slots. `padded` >= rows. Returns what must be copied from the caller's
    // pages first. True in `moved` if an address changed that graphs have recorded.
    std::vector<PageCopy> fill(const Pass& pass, std::int32_t padded, PageSlots& slots,
                               bool& moved);
    // How the rows of the next pass that want logits draw tokens, and where theirs come from; after
    // the pass that is under way it is as if nothing had been said.
    void sample_next(std::span<const SampleRow> rows, std::span<const std::int32_t> sources);

    RowTables rows() const;
    const TokenId* tokens() const { return tokens_.data(); }
    const std::int32_t* sources() const { return sources_.data(); }
    const SampleRow* samples() const { return samples_.data(); }
    const std::int32_t* logit_rows() const { return logit_rows_.data(); }
    const WindowTables& of_window(std::int32_t window) const;
    // The largest of the windows' counts, and the partial results that they need.
    std::int32_t most_single() const;
    std::int32_t most_partials() const;
    std::int64_t bytes_sent() const { return uploads_.bytes_sent(); }
    // In a layer of the window, for metrics: pages that tiles read, a KV head of a page each, and
    // keys that rows attend.
    std::int64_t pages_attended(std::int32_t window) const;
    std::int64_t keys_attended(std::int32_t window) const;

  private:
    void fill_rows(const Pass& pass, std::int32_t padded, bool& moved);
    std::byte* page_at(std::int32_t slot) const;

    TableOptions options_;
    Uploads uploads_;
    std::vector<PlannedRun> runs_;
    DeviceArray<TokenId> tokens_;
    DeviceArray<std::int32_t> position_, pages_at_, logit_rows_, sources_;
    DeviceArray<SampleRow> samples_;
    std::vector<SampleRow> next_samples_;
    std::vector<std::int32_t> next_sources_;
    DeviceArray<std::byte*> pages_, host_pages_;
    std::vector<WindowTables> windows_;
};

template <typename T>
void DeviceArray<T>::set(std::span<const T> values, Uploads& uploads, bool& moved) {
    if (values.size() > host_.size()) {
        const std::size_t count = values.size() + values.size() / 2 + 64;
        auto memory = uploads.machine().allocate(count * sizeof(T), Use::kTables);
        CHECK_MSG(memory.ok(), memory.ok() ? "" : memory.error().message);
        memory_ = std::move(memory).value();
        host_.assign(count, T{});
        moved = true;
    }
    const auto same = [](const T& a, const T& b) { return std::memcmp(&a, &b, sizeof a) == 0; };
    std::size_t begin = 0, end = values.size();
    while (begin < end && same(values[begin], host_[begin])) ++begin;
    while (end > begin && same(values[end - 1], host_[end - 1])) --end;
    if (begin == end) return;
    std::copy(values.begin() + static_cast<std::ptrdiff_t>(begin),
              values.begin() + static_cast<std::ptrdiff_t>(end),
              host_.begin() + static_cast<std::ptrdiff_t>(begin));
    uploads.send(data() + begin, host_.data() + begin, (end - begin) * sizeof(T));
}

}  // namespace hearth::engine::cuda
