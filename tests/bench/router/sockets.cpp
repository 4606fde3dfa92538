// Plain socket calls, and the little of HTTP that a benchmark's own two ends need.
#include "tests/bench/router/sockets.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace hearth::bench {
namespace {

sockaddr_in loopback(std::uint16_t port) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return address;
}

void no_delay(int fd) {
    const int on = 1;
    ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

int try_connect(std::uint16_t port) {
    const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) die("socket");
    const sockaddr_in address = loopback(port);
    if (::connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0) {
        no_delay(fd);
        return fd;
    }
    ::close(fd);
    return -1;
}

}  // namespace

void die(const std::string& what) {
    std::fprintf(stderr, "hearth bench router: %s (%s)\n", what.c_str(), std::strerror(errno));
    std::exit(1);
}

int listen_on(std::uint16_t& port) {
    const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) die("socket");
    const int on = 1;
    ::setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    sockaddr_in address = loopback(port);
    socklen_t size = sizeof address;
    if (::bind(fd, reinterpret_cast<sockaddr*>(&address), size) != 0 || ::listen(fd, 1024) != 0 ||
        ::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) != 0)
        die("listen");
    port = ntohs(address.sin_port);
    return fd;
}

int connect_to(std::uint16_t port) {
    const int fd = try_connect(port);
    if (fd < 0) die("connect");
    return fd;
}

bool can_connect(std::uint16_t port) {
    const int fd = try_connect(port);
    if (fd >= 0) ::close(fd);
    return fd >= 0;
}

bool send_all(int fd, std::string_view bytes) {
    while (!bytes.empty()) {
        const ssize_t n = ::send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return false;
        bytes.remove_prefix(static_cast<std::size_t>(n));
    }
    return true;
}

int make_epoll() {
    const int fd = ::epoll_create1(EPOLL_CLOEXEC);
    if (fd < 0) die("epoll_create1");
    return fd;
}

void watch(int epoll, int fd, std::uint64_t tag) {
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.u64 = tag;
    if (::epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) != 0) die("epoll_ctl");
}

void Message::reset() {
    head_.clear();
    tail_.clear();
    has_head_ = chunked_ = false;
    length_ = body_bytes_ = events_ = 0;
    before_ = 0;
}

void Message::read_head() {
    std::string lower = head_;
    std::transform(lower.begin(), lower.end(), lower.begin(),
                   [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    constexpr std::string_view kLength = "\r\ncontent-length:";
    if (const auto at = lower.find(kLength); at != std::string::npos)
        length_ = std::strtoull(lower.c_str() + at + kLength.size(), nullptr, 10);
    chunked_ = lower.find("\r\ntransfer-encoding: chunked") != std::string::npos;
}

void Message::count_events(std::string_view bytes) {
    for (const char *at = bytes.data(), *end = at + bytes.size();; ++at) {
        at = static_cast<const char*>(std::memchr(at, '\n', static_cast<std::size_t>(end - at)));
        if (at == nullptr) break;
        const char previous = at == bytes.data() ? before_ : at[-1];
        events_ += previous == '\n';
    }
    before_ = bytes.back();
}

bool Message::take(std::string_view bytes) {
    if (!has_head_) {
        head_.append(bytes);
        const std::size_t end = head_.find("\r\n\r\n");
        if (end == std::string::npos) return false;
        const std::size_t body = head_.size() - (end + 4);
        bytes.remove_prefix(bytes.size() - body);
        head_.resize(end + 4);
        has_head_ = true;
        read_head();
    }
    body_bytes_ += bytes.size();
    if (!chunked_) {
        if (body_bytes_ > length_) die("more bytes than were announced");
        return body_bytes_ == length_;
    }
    if (bytes.empty()) return false;
    count_events(bytes);
    constexpr std::size_t kEndBytes = 7;
    tail_.append(bytes.substr(bytes.size() - std::min(bytes.size(), kEndBytes)));
    if (tail_.size() > kEndBytes) tail_.erase(0, tail_.size() - kEndBytes);
    return tail_ == "\r\n0\r\n\r\n";
}

}  // namespace hearth::bench
