// EmulatedMachine: queues of closures, and a table of every kernel's body.
#include "tests/engine/kernels/cuda/emulated_machine.h"

#include <cstring>
#include <new>

#include "engine/kernels/cuda/kernel_list.h"

namespace hearth::engine::cuda {
namespace {

constexpr std::size_t kAlign = 1024;
constexpr std::size_t kGuard = 64;

std::shared_ptr<std::byte> aligned(std::size_t bytes) {
    auto* memory =
        static_cast<std::byte*>(::operator new (bytes + kGuard, std::align_val_t{kAlign}));
    std::memset(memory, 0, bytes);
    std::memset(memory + bytes, 0x5a, kGuard);
    return {memory, [bytes](std::byte* p) {
                for (std::size_t i = 0; i < kGuard; ++i)
                    CHECK_MSG(p[bytes + i] == std::byte{0x5a}, "written beyond an allocation");
                ::operator delete (p, std::align_val_t{kAlign});
            }};
}

template <class K>
void run_blocks(const void* arguments, const Grid& grid, const HostTemper& temper) {
    const K& kernel = *static_cast<const K*>(arguments);
    const std::shared_ptr<std::byte> shared = aligned(grid.shared);
    std::memset(shared.get(), 0xcd, grid.shared);
    for (int z = 0; z < grid.z; ++z) {
        for (int y = 0; y < grid.y; ++y) {
            for (int x = 0; x < grid.x; ++x) {
                HostBlock<K::kThreads> block{};
                block.shared = shared.get();
                block.x = x, block.y = y, block.z = z;
                block.temper = temper;
                if constexpr (OnlyHopper<K>) block.consumers = K::kConsumers;
                kernel.run(block);
            }
        }
    }
}

struct Entry {
    void (*run)(const void*, const Grid&, const HostTemper&);
    std::shared_ptr<void> (*copy)(const void*);
};
template <class K>
std::shared_ptr<void> copy_of(const void* arguments) {
    return std::make_shared<K>(*static_cast<const K*>(arguments));
}
template <class... K>
std::vector<Entry> entries_of(KernelList<K...>) {
    return {Entry{run_blocks<K>, copy_of<K>}...};
}

}  // namespace

EmulatedMachine::EmulatedMachine(const EmulatedOptions& options)
    : options_(options), rng_(options.seed) {
    device_ = {"emulated",           options.major,
               options.minor,        options.multiprocessors,
               options.memory_bytes, options.major == 8 ? 166912u : 232448u};
}

EmulatedMachine::~EmulatedMachine() {
    broken_.clear();
    (void)finish();
}

std::size_t EmulatedMachine::bytes_free() const {
    std::size_t used = 0;
    for (const std::size_t bytes : used_) used += bytes;
    return used > options_.memory_bytes ? 0 : options_.memory_bytes - used;
}

Result<std::shared_ptr<std::byte>> EmulatedMachine::allocate(std::size_t bytes, Use use) {
    const auto at = static_cast<std::size_t>(use);
    if (bytes > bytes_free())
        return make_error(ErrorCode::kExhausted, "emulated device: no memory for " +
                                                     std::to_string(bytes) + " bytes of " +
                                                     kUseNames[at]);
    used_[at] += bytes;
    const std::shared_ptr<std::byte> memory = aligned(bytes);
    return std::shared_ptr<std::byte>(memory.get(), [this, memory, at, bytes](std::byte*) {
        used_[at] -= bytes;
        if (broken_.empty()) (void)finish();  // Like cudaFree: waits for what still reads it.
    });
}

Result<std::shared_ptr<std::byte>> EmulatedMachine::allocate_pinned(std::size_t bytes) {
    return aligned(bytes);
}

Result<void> EmulatedMachine::pin(std::span<std::byte>) {
    return {};
}

void EmulatedMachine::give(Stream stream, Work work) {
    if (!broken_.empty()) return;
    if (recording_) {
        recorded_.push_back(std::move(work));
        return;
    }
    Queue& queue = queues_[static_cast<std::size_t>(stream)];
    queue.tasks.push_back({std::move(work)});
    ++queue.given;
}

void EmulatedMachine::copy(void* to, const void* from, std::size_t bytes, Stream stream) {
    give(stream, [=] { std::memcpy(to, from, bytes); });
}

void EmulatedMachine::copy_batch(std::span<const Piece> pieces, Stream stream) {
    const std::vector<Piece> own(pieces.begin(), pieces.end());
    give(stream, [own] {
        for (const Piece& piece : own) std::memcpy(piece.to, piece.from, piece.bytes);
    });
}

void EmulatedMachine::clear(void* at, std::size_t bytes, Stream stream) {
    give(stream, [=] { std::memset(at, 0, bytes); });
}

void EmulatedMachine::launch_id(int id, const void* arguments, const Grid& grid, Stream stream) {
    static const std::vector<Entry> entries = entries_of(AllKernels{});
    const Entry& entry = entries[static_cast<std::size_t>(id)];
    CHECK_MSG(grid.shared <= device_.shared_bytes, "more shared memory than a block may have");
    CHECK(grid.x > 0 && grid.y > 0 && grid.z > 0);
    const std::shared_ptr<void> own = entry.copy(arguments);
    give(stream, [this, entry, own, grid, id] {
        ++launches_[id];
        entry.run(own.get(), grid, options_.temper);
    });
}

bool EmulatedMachine::tensor_map(TensorMap& map, const std::int8_t* matrix, std::int32_t rows,
                                 std::int32_t width, std::int32_t box_rows) {
    map.opaque = {reinterpret_cast<std::uint64_t>(matrix), static_cast<std::uint64_t>(rows),
                  static_cast<std::uint64_t>(width), static_cast<std::uint64_t>(box_rows)};
    return true;
}

int EmulatedMachine::new_event() {
    events_.emplace_back();
    return static_cast<int>(events_.size()) - 1;
}

void EmulatedMachine::record(int event, Stream stream) {
    if (recording_) return;  // A graph's work is kept in the order in which it was given.
    const auto at = static_cast<std::size_t>(stream);
    events_[static_cast<std::size_t>(event)] = {static_cast<int>(stream), queues_[at].given};
}

void EmulatedMachine::wait(Stream stream, int event) {
    if (recording_ || !broken_.empty()) return;
    const Event& at = events_[static_cast<std::size_t>(event)];
    Queue& queue = queues_[static_cast<std::size_t>(stream)];
    queue.tasks.push_back({nullptr, at.stream, at.count});
    ++queue.given;
}

bool EmulatedMachine::step_one(Queue& queue) {
    if (queue.tasks.empty()) return false;
    const Task& next = queue.tasks.front();
    if (!next.work && queues_[static_cast<std::size_t>(next.stream)].done < next.count)
        return false;
    if (next.work) next.work();
    queue.tasks.pop_front();
    ++queue.done;
    return true;
}

void EmulatedMachine::run_until(const std::function<bool()>& reached) {
    while (!reached()) {
        const std::uint64_t first = rng_.below(kStreams);
        bool moved = false;
        // One may get far ahead of the others.
        const std::uint64_t steps = 1 + rng_.below(std::uint64_t{1} << rng_.below(9));
        for (std::uint64_t i = 0; i < kStreams && !moved; ++i)
            for (std::uint64_t step = 0; step < steps && !reached(); ++step)
                moved = step_one(queues_[(first + i) % kStreams]) || moved;
        CHECK_MSG(moved, "streams wait for each other");
    }
}

Result<void> EmulatedMachine::wait_host(int event) {
    const Event at = events_[static_cast<std::size_t>(event)];
    run_until([&] { return queues_[static_cast<std::size_t>(at.stream)].done >= at.count; });
    if (!broken_.empty()) return make_error(ErrorCode::kUnavailable, broken_);
    return {};
}

Result<void> EmulatedMachine::finish() {
    if (!broken_.empty()) return make_error(ErrorCode::kUnavailable, broken_);
    run_until([&] {
        for (const Queue& queue : queues_)
            if (!queue.tasks.empty()) return false;
        return true;
    });
    return {};
}

void EmulatedMachine::begin_graph() {
    CHECK(!recording_);
    recording_ = true;
    recorded_.clear();
}

int EmulatedMachine::end_graph() {
    CHECK(recording_);
    recording_ = false;
    graphs_[next_graph_] = std::move(recorded_);
    recorded_.clear();
    return next_graph_++;
}

void EmulatedMachine::replay(int graph) {
    const std::vector<Work> work = graphs_.at(graph);
    ++replays_;
    give(Stream::kCompute, [work] {
        for (const Work& one : work) one();
    });
}

void EmulatedMachine::drop_graph(int graph) {
    CHECK(graphs_.erase(graph) == 1);
}

}  // namespace hearth::engine::cuda
