// The one door to Boost.Asio: the narrow set of includes that Hearth needs, and short names.
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/buffer.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>

#if defined(__GNUC__) && !defined(__clang__)
// g++ 12 takes the inlined operator new of a coroutine's frame for a mismatch of its operator
// delete; which coroutines it says so of changes with the optimisation level.
#pragma GCC diagnostic ignored "-Wmismatched-new-delete"
#endif

namespace hearth {

namespace asio = boost::asio;
using Tcp = asio::ip::tcp;
template <typename T>
using Task = asio::awaitable<T>;

}  // namespace hearth
