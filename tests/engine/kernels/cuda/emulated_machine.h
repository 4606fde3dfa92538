// EmulatedMachine: a device of loops and plain memory, so that the CUDA backend is tested without
// one: every kernel's body, every index, every wait of one stream for another.
#pragma once

#include <array>
#include <deque>
#include <functional>
#include <map>
#include <set>
#include <vector>

#include "common/base/rng.h"
#include "engine/kernels/cuda/machine.h"
#include "tests/engine/kernels/cuda/host_block.h"

namespace hearth::engine::cuda {

struct EmulatedOptions {
    int major = 8, minor = 0;
    int multiprocessors = 4;
    std::size_t memory_bytes = 256u << 20;
    HostTemper temper = {};
    std::uint64_t seed = 1;
};

// Work waits in its stream until somebody waits for it, and then streams take turns by chance, as
// far as events allow: what should have waited for an event and did not comes too early sooner or
// later. Host memory that is not pinned is refused by kernels' writers (pin() is checked by tests).
class EmulatedMachine final : public Machine {
  public:
    explicit EmulatedMachine(const EmulatedOptions& options = {});
    ~EmulatedMachine() override;

    const Device& device() const override { return device_; }
    Result<std::shared_ptr<std::byte>> allocate(std::size_t bytes, Use use) override;
    std::size_t bytes_used(Use use) const override { return used_[static_cast<std::size_t>(use)]; }
    std::size_t bytes_free() const override;
    Result<std::shared_ptr<std::byte>> allocate_pinned(std::size_t bytes) override;
    Result<void> pin(std::span<std::byte> memory) override;
    void copy(void* to, const void* from, std::size_t bytes, Stream stream) override;
    void copy_batch(std::span<const Piece> pieces, Stream stream) override;
    void clear(void* at, std::size_t bytes, Stream stream) override;
    void launch_id(int id, const void* arguments, const Grid& grid, Stream stream) override;
    bool tensor_map(TensorMap& map, const std::int8_t* matrix, std::int32_t rows,
                    std::int32_t width, std::int32_t box_rows) override;
    int new_event() override;
    void record(int event, Stream stream) override;
    void wait(Stream stream, int event) override;
    Result<void> wait_host(int event) override;
    double milliseconds(int, int) override { return 1.0; }
    void begin_graph() override;
    int end_graph() override;
    void replay(int graph) override;
    void drop_graph(int graph) override;
    Result<void> finish() override;

    // How often each kernel of kernel_list.h has run, graphs included.
    const std::map<int, int>& launches() const { return launches_; }
    int graphs_alive() const { return static_cast<int>(graphs_.size()); }
    std::int64_t replays() const { return replays_; }
    // From now on calls fail with this, as a device that is lost does.
    void break_with(const std::string& words) { broken_ = words; }

  private:
    using Work = std::function<void()>;
    struct Task {
        Work work;               // Or, where it is null:
        int stream = 0;          // wait until this stream
        std::int64_t count = 0;  // has done so many tasks.
    };
    struct Queue {
        std::deque<Task> tasks;
        std::int64_t given = 0, done = 0;
    };
    struct Event {
        int stream = 0;
        std::int64_t count = 0;
    };
    void give(Stream stream, Work work);
    bool step_one(Queue& queue);
    void run_until(const std::function<bool()>& reached);

    EmulatedOptions options_;
    Device device_;
    Rng rng_;
    std::array<std::size_t, kUseNames.size()> used_ = {};
    std::array<Queue, kStreams> queues_;
    std::vector<Event> events_;
    bool recording_ = false;
    std::vector<Work> recorded_;
    std::map<int, std::vector<Work>> graphs_;
    int next_graph_ = 0;
    std::map<int, int> launches_;
    std::int64_t replays_ = 0;
    std::string broken_;
};

}  // namespace hearth::engine::cuda
