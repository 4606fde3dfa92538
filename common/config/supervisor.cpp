// The two protocols of systemd that need no library: inherited sockets and readiness.
#include "common/config/supervisor.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cstddef>
#include <string>

#include "common/base/log.h"
#include "common/config/environment.h"

namespace hearth {
namespace {

constexpr int kFirstInherited = 3;  // SD_LISTEN_FDS_START
constexpr int kInheritedMax = 16;

template <typename T = int>
T number(const std::string& text) {
    T value = 0;
    std::from_chars(text.data(), text.data() + text.size(), value);
    return value;
}

}  // namespace

std::vector<int> inherited_listeners() {
    if (number(environment("LISTEN_PID")) != ::getpid()) return {};
    const int count = std::min(number(environment("LISTEN_FDS")), kInheritedMax);
    std::vector<int> sockets;
    for (int i = 0; i < count; ++i) {
        sockets.push_back(kFirstInherited + i);
        ::fcntl(sockets.back(), F_SETFD, FD_CLOEXEC);
    }
    return sockets;
}

std::chrono::microseconds watchdog_limit() {
    const std::string process = environment("WATCHDOG_PID");
    if (!process.empty() && number(process) != ::getpid()) return {};
    return std::chrono::microseconds(number<std::int64_t>(environment("WATCHDOG_USEC")));
}

void tell_supervisor(std::string_view state) {
    const std::string path = environment("NOTIFY_SOCKET");
    sockaddr_un address{};
    if (path.empty() || path.size() >= sizeof address.sun_path) return;
    address.sun_family = AF_UNIX;
    std::copy(path.begin(), path.end(), address.sun_path);
    if (path[0] == '@') address.sun_path[0] = '\0';  // Of the abstract namespace.
    const auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + path.size());
    const int sender = ::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (sender < 0) return;
    if (::sendto(sender, state.data(), state.size(), MSG_DONTWAIT | MSG_NOSIGNAL,
                 reinterpret_cast<const sockaddr*>(&address), size) < 0)
        log::warn("the supervisor cannot be told", {{"socket", path}});
    ::close(sender);
}

}  // namespace hearth
