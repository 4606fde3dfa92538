// run_task: runs one coroutine to its end on an io_context, for programs that do one thing.
#pragma once

#include <exception>

#include "common/net/asio.h"

namespace hearth::cli {

// Blocks until `task` has ended, whatever else the io_context still holds. Returns its exit code.
inline int run_task(asio::io_context& io, Task<int> task) {
    int exit_code = 1;
    const auto on_end = [&io, &exit_code](std::exception_ptr failed, int code) {
        io.stop();
        if (failed) std::rethrow_exception(failed);
        exit_code = code;
    };
    asio::co_spawn(io, std::move(task), on_end);
    io.restart();  // Whoever turned the loop before, such as a server that ended, has stopped it.
    io.run();
    return exit_code;
}

}  // namespace hearth::cli
