// One epoll set, tags are descriptors, and one buffer.
#include "tests/bench/router/bare_relay.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <vector>

#include "tests/bench/router/sockets.h"

namespace hearth::bench {
namespace {

class BareRelay {
  public:
    BareRelay(std::uint16_t port, std::span<const std::uint16_t> nodes)
        : listener_(listen_on(port)), nodes_(nodes) {
        watch(epoll_, listener_, static_cast<std::uint64_t>(listener_));
    }

    [[noreturn]] void serve() {
        std::array<epoll_event, 256> events{};
        for (;;) {
            const int ready = ::epoll_wait(epoll_, events.data(), events.size(), -1);
            for (int i = 0; i < ready; ++i) {
                const auto fd = static_cast<int>(events[static_cast<std::size_t>(i)].data.u64);
                if (fd == listener_)
                    take_client();
                else
                    pass_on(static_cast<std::size_t>(fd));
            }
        }
    }

  private:
    void take_client() {
        const int client = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
        if (client < 0) return;
        const int on = 1;
        ::setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        const int node = connect_to(nodes_[next_++ % nodes_.size()]);
        join(client, node);
        join(node, client);
    }

    void join(int fd, int peer) {
        const auto at = static_cast<std::size_t>(fd);
        if (at >= peer_of_.size()) peer_of_.resize(at + 1, -1);
        peer_of_[at] = peer;
        watch(epoll_, fd, at);
    }

    // A send that waits is the long prompts' alone: the rest is less than a socket holds.
    void pass_on(std::size_t from) {
        const int peer = peer_of_[from];
        if (peer < 0) return;  // It ended earlier in this turn.
        const auto fd = static_cast<int>(from);
        const ssize_t got = ::recv(fd, buffer_.data(), buffer_.size(), MSG_DONTWAIT);
        if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
        if (got > 0 && send_all(peer, {buffer_.data(), static_cast<std::size_t>(got)})) return;
        ::close(fd);
        ::close(peer);
        peer_of_[from] = -1;
        peer_of_[static_cast<std::size_t>(peer)] = -1;
    }

    const int listener_;
    const int epoll_ = make_epoll();
    std::span<const std::uint16_t> nodes_;
    std::size_t next_ = 0;      // Of nodes_.
    std::vector<int> peer_of_;  // By descriptor; -1 = closed.
    std::array<char, 64 * 1024> buffer_{};
};

}  // namespace

void relay_barely(std::uint16_t port, std::span<const std::uint16_t> nodes) {
    BareRelay(port, nodes).serve();
}

}  // namespace hearth::bench
