// One epoll loop over all connections of all nodes; events of streams leave on a tick of 1 ms.
#include "tests/bench/router/upstream.h"

#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <csignal>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "common/base/clock.h"
#include "tests/bench/router/sockets.h"

namespace hearth::bench {
namespace {

constexpr std::size_t kReadBytes = 256 * 1024;

std::string chunk(const std::string& payload) {
    char size[16];
    std::snprintf(size, sizeof size, "%zx\r\n", payload.size());
    return size + payload + "\r\n";
}

std::string whole_answer() {
    std::string body = R"({"id":"chatcmpl-1","object":"chat.completion","choices":[{"index":0,)"
                       R"("message":{"role":"assistant","content":")";
    body.append(800, 'x');
    body += R"("},"finish_reason":"stop"}],"usage":{"prompt_tokens":512,"completion_tokens":128,)"
            R"("total_tokens":640}})";
    return "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nserver: bench\r\n"
           "date: Thu, 01 Jan 2026 00:00:00 GMT\r\ncontent-length: " +
           std::to_string(body.size()) + "\r\n\r\n" + body;
}

const std::string kStreamHead =
    "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncache-control: no-cache\r\n"
    "date: Thu, 01 Jan 2026 00:00:00 GMT\r\ntransfer-encoding: chunked\r\n\r\n";

std::string one_event() {
    return chunk(
        R"(data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1767225600,)"
        R"("model":"bench","choices":[{"index":0,"delta":{"content":" word"},)"
        R"("finish_reason":null}]})"
        "\n\n");
}

class Nodes {
  public:
    explicit Nodes(const std::array<int, kNodes>& listeners) : epoll_(make_epoll()) {
        for (const int fd : listeners) {
            watch(epoll_, fd, static_cast<std::uint64_t>(fd));
            listeners_.push_back(fd);
        }
    }

    [[noreturn]] void run() {
        std::vector<epoll_event> events(256);
        MonotonicNs next_tick = 0;
        while (true) {
            int wait_ms = -1;
            if (!streams_.empty()) {
                const MonotonicNs now = SystemClock::instance().now();
                wait_ms = next_tick > now ? 1 : 0;
            }
            const int n = ::epoll_wait(epoll_, events.data(), 256, wait_ms);
            for (int i = 0; i < n; ++i)
                serve(static_cast<int>(events[static_cast<size_t>(i)].data.fd));
            const MonotonicNs now = SystemClock::instance().now();
            if (streams_.empty() || now < next_tick) continue;
            tick();
            next_tick = now + kMs;  // A late tick is not made up for: events would run together.
        }
    }

  private:
    struct Peer {
        Message request;
        std::uint64_t events_left = 0;
    };

    void serve(int fd) {
        for (const int listener : listeners_) {
            if (fd != listener) continue;
            const int peer = ::accept4(fd, nullptr, nullptr, SOCK_CLOEXEC);
            if (peer < 0) return;
            watch(epoll_, peer, static_cast<std::uint64_t>(peer));
            peers_.try_emplace(peer);
            return;
        }
        Peer& peer = peers_.at(fd);
        const ssize_t n = ::recv(fd, buffer_.get(), kReadBytes, MSG_DONTWAIT);
        if (n <= 0) {
            forget(fd);
            return;
        }
        if (peer.request.take({buffer_.get(), static_cast<std::size_t>(n)})) answer(fd, peer);
    }

    void answer(int fd, Peer& peer) {
        const std::string& head = peer.request.head();
        if (head.find(" /v1/completions?hold") != std::string::npos) {
            send_all(fd, kStreamHead + event_);
        } else if (head.find(" /v1/completions") != std::string::npos) {
            send_all(fd, kStreamHead);
            peer.events_left = kEventsPerStream;
            streams_.push_back(fd);
        } else {
            send_all(fd, answer_);
        }
        peer.request.reset();
    }

    void tick() {
        ++tick_;
        std::vector<int> going;
        for (const int fd : streams_) {
            Peer& peer = peers_.at(fd);
            if (static_cast<std::size_t>(fd) % kStreamGroups != tick_ % kStreamGroups) {
                going.push_back(fd);
                continue;
            }
            const bool last = --peer.events_left == 0;
            bool there = send_all(fd, event_);
            if (last) there = there && send_all(fd, "0\r\n\r\n");
            if (there && !last) going.push_back(fd);  // Who has left shows at the next read.
        }
        streams_ = std::move(going);
    }

    void forget(int fd) {
        std::erase(streams_, fd);
        peers_.erase(fd);
        ::close(fd);
    }

    int epoll_;
    std::vector<int> listeners_;
    std::unordered_map<int, Peer> peers_;
    std::vector<int> streams_;
    std::uint64_t tick_ = 0;
    const std::string answer_ = whole_answer();
    const std::string event_ = one_event();
    std::unique_ptr<char[]> buffer_ = std::make_unique<char[]>(kReadBytes);
};

}  // namespace

Upstream start_upstream() {
    Upstream upstream;
    std::array<int, kNodes> listeners{};
    for (std::size_t i = 0; i < kNodes; ++i) listeners[i] = listen_on(upstream.ports[i]);
    upstream.pid = ::fork();
    if (upstream.pid < 0) die("fork");
    if (upstream.pid == 0) {
        ::prctl(PR_SET_PDEATHSIG, SIGKILL);
        Nodes(listeners).run();
    }
    for (const int fd : listeners) ::close(fd);
    return upstream;
}

}  // namespace hearth::bench
