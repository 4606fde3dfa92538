// PieceCopier: lists go to the device by themselves, ahead of the kernel that reads them.
#include "engine/kernels/cuda/tier_copies.h"

#include <cstring>

#include "common/base/check.h"
#include "engine/kernels/cuda/kernel_list.h"

namespace hearth::engine::cuda {

void PieceCopier::copy(Machine& machine, std::span<const Piece> pieces, Stream stream) {
    if (pieces.empty()) return;
    List& list = lists_[next_];
    next_ = (next_ + 1) % kLists;
    if (list.done < 0) {
        list.done = machine.new_event();
    } else {
        (void)machine.wait_host(list.done);  // An error shows in finish().
    }
    if (list.room < pieces.size_bytes()) {
        list.room = pieces.size_bytes() * 2;
        auto pinned = machine.allocate_pinned(list.room);
        auto device = machine.allocate(list.room, Use::kTables);
        CHECK_MSG(pinned.ok(), pinned.ok() ? "" : pinned.error().message);
        CHECK_MSG(device.ok(), device.ok() ? "" : device.error().message);
        list.pinned = std::move(pinned).value();
        list.device = std::move(device).value();
    }
    std::memcpy(list.pinned.get(), pieces.data(), pieces.size_bytes());
    machine.copy(list.device.get(), list.pinned.get(), pieces.size_bytes(), stream);
    launch(machine, CopyPiecesKernel{reinterpret_cast<const Piece*>(list.device.get())},
           {static_cast<int>(pieces.size())}, stream);
    machine.record(list.done, stream);
}

}  // namespace hearth::engine::cuda
