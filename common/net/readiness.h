// Readiness: tells the sockets of one loop what the kernel says of them, many in one turn: first
// all of them read, then what waits for the bytes goes on.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include <boost/asio/posix/stream_descriptor.hpp>

#include "common/net/asio.h"

namespace hearth {

class Readiness;

// A socket that hears from a Readiness. Owned by whoever owns the socket; the loop's thread.
class ReadySocket {
  public:
    ReadySocket() = default;
    ReadySocket(const ReadySocket&) = delete;
    ReadySocket& operator=(const ReadySocket&) = delete;

    virtual ~ReadySocket() = default;

  private:
    friend class Readiness;
    // EPOLLIN and so on, each change told once. May read and write; true if go_on() is due. Nothing
    // else runs until all sockets of the turn have heard, so it must resume nobody.
    virtual bool hear(std::uint32_t events) = 0;
    virtual void go_on() = 0;  // May be the end of this and of other sockets.
    // The loop has ended: destroys one who waits, without resuming it, which may be the end of this
    // socket; removes this from the set once nobody waits. Called until then.
    virtual void drop() = 0;

    static constexpr std::size_t kNone = static_cast<std::size_t>(-1);
    std::size_t member_at_ = kNone;  // Of this in Readiness::members_,
    std::size_t due_at_ = kNone;     // and in due_.
};

// One for each io_context, which owns it: asio::use_service<Readiness>(io). Its thread.
// An epoll set in that of Asio. Asio would try each read before it waits for it, which costs a
// system call a wait; here the kernel is asked only after it said that something is there, and
// since all reads of a turn come before what they cause, the peers wake once for many bytes.
// Invariant: while somebody waits, Asio's loop waits for the set or a turn is due.
class Readiness final : public asio::io_context::service {
  public:
    static asio::io_context::id id;  // As Asio wants it of a service.

    explicit Readiness(asio::io_context& io);
    ~Readiness() override;

    // From now on `socket` hears of `fd`, which is open, until remove(). False: the kernel has no
    // room for one more.
    bool add(int fd, ReadySocket& socket);
    void remove(int fd, ReadySocket& socket);  // Idempotent. Nothing is due any more either.
    // Has go_on() called soon, from the loop, once.
    void call(ReadySocket& socket);
    // Somebody waits for a socket, or no longer does. The loop has work while somebody waits.
    void begin_wait();
    void end_wait() { --waits_; }

  private:
    void shutdown() noexcept override;
    void arm();
    void turn();
    void go_on();

    asio::io_context& io_;
    int epoll_ = -1;
    asio::posix::stream_descriptor set_;  // Owns epoll_.
    std::vector<ReadySocket*> members_;
    std::vector<ReadySocket*> due_;  // go_on() is; null: removed meanwhile.
    std::size_t waits_ = 0;
    bool armed_ = false;  // Asio waits for the set.
    bool in_turn_ = false;
    bool posted_ = false;  // go_on() is.
};

}  // namespace hearth
