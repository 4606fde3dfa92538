// A second try beside one that takes long: a lost SYN is sent again by the kernel only after a
// second (RFC 6298), and a turn that gives up before goes to a node without its KV.
#pragma once

#include <chrono>
#include <memory>

#include "common/base/result.h"
#include "common/net/asio.h"
#include "common/net/client_connection.h"

namespace hearth {

// Connects to `endpoint`. Without an answer for `hedge` (0 = never) a second attempt begins beside
// the first, to the same endpoint; whichever succeeds first counts, the other is closed. Errors as
// of TcpStream::connect(), the later one of two. On the loop of `io`.
Task<Result<std::unique_ptr<ClientConnection>>> connect_hedged(asio::io_context& io,
                                                               std::shared_ptr<Deadlines> deadlines,
                                                               Tcp::endpoint endpoint,
                                                               std::chrono::milliseconds timeout,
                                                               std::chrono::milliseconds hedge);

}  // namespace hearth
