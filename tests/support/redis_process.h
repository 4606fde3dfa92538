// RedisProcess: a real redis-server for tests, on a free port of loopback, in a folder of its own.
#pragma once

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/clock.h"
#include "common/redis/reply.h"

namespace hearth {

// One test's. Blocking. The server dies with this object, or with the test program.
class RedisProcess {
  public:
    // False where redis-server is not installed: skip, visibly.
    static bool available() {
        return std::system("command -v redis-server >/dev/null 2>&1") == 0;  // NOLINT
    }

    // Starts a server with these further arguments; throws when it does not answer within 10 s.
    explicit RedisProcess(std::vector<std::string> arguments = {})
        : RedisProcess(std::move(arguments), new_folder()) {
        // Another program may take the free port before the server does: then try the next one.
        for (int attempt = 0; attempt < 5; ++attempt) {
            port_ = free_port();
            if (launch()) return;
        }
        throw std::runtime_error("redis-server does not start:\n" + log());
    }
    ~RedisProcess() {
        kill_now();
        std::error_code ignored;
        std::filesystem::remove_all(folder_, ignored);
    }
    RedisProcess(const RedisProcess&) = delete;
    RedisProcess& operator=(const RedisProcess&) = delete;

    int port() const { return port_; }
    std::string address() const { return "127.0.0.1:" + std::to_string(port_); }

    // As a machine that fails: SIGKILL, and gone when this returns.
    void kill_now() {
        if (pid_ <= 0) return;
        kill(pid_, SIGKILL);
        waitpid(pid_, nullptr, 0);
        pid_ = -1;
    }
    // The same port, with an empty memory.
    void restart() {
        kill_now();
        if (!launch()) throw std::runtime_error("redis-server does not restart:\n" + log());
    }
    void freeze() { kill(pid_, SIGSTOP); }
    void thaw() { kill(pid_, SIGCONT); }

    // One command on a connection of its own; gives up (kNil) after 5 s.
    Reply ask(const std::vector<std::string_view>& command) const {
        const int socket = connected_socket();
        Reply answer;
        if (socket < 0) return answer;
        const std::string bytes = format_command(command);
        if (send(socket, bytes.data(), bytes.size(), MSG_NOSIGNAL) ==
            static_cast<ssize_t>(bytes.size()))
            answer = read_reply(socket);
        close(socket);
        return answer;
    }

  private:
    // Whole before anything starts, so that the destructor cleans up after a start that failed.
    RedisProcess(std::vector<std::string> arguments, std::string folder)
        : arguments_(std::move(arguments)), folder_(std::move(folder)) {}

    static std::string new_folder() {
        std::string pattern = std::filesystem::temp_directory_path() / "hearth-redis-XXXXXX";
        if (!mkdtemp(pattern.data())) throw std::runtime_error("mkdtemp failed");
        return pattern;
    }

    static sockaddr_in loopback(int port) {
        sockaddr_in address{};
        address.sin_family = AF_INET;
        address.sin_port = htons(static_cast<std::uint16_t>(port));
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        return address;
    }

    static int free_port() {
        const int socket = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        sockaddr_in address = loopback(0);
        socklen_t size = sizeof(address);
        const bool bound = bind(socket, reinterpret_cast<sockaddr*>(&address), size) == 0 &&
                           getsockname(socket, reinterpret_cast<sockaddr*>(&address), &size) == 0;
        close(socket);
        if (!bound) throw std::runtime_error("no free port");
        return ntohs(address.sin_port);
    }

    int connected_socket() const {
        const int socket = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        sockaddr_in address = loopback(port_);
        if (connect(socket, reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0)
            return socket;
        close(socket);
        return -1;
    }

    static Reply read_reply(int socket) {
        ReplyReader reader;
        char block[65536];
        pollfd readable = {socket, POLLIN, 0};
        while (poll(&readable, 1, 5'000) == 1) {
            const ssize_t n = recv(socket, block, sizeof(block), 0);
            if (n <= 0) break;
            reader.feed({block, static_cast<std::size_t>(n)});
            auto reply = reader.next();
            if (!reply) break;
            if (reply->has_value()) return std::move(**reply);
        }
        return {};
    }

    std::string log() const {
        std::ifstream in(folder_ + "/log");
        std::stringstream text;
        text << in.rdbuf();
        return text.str();
    }

    void spawn() {
        std::vector<std::string> words = {
            "redis-server", "--port", std::to_string(port_), "--bind", "127.0.0.1", "--save", "",
            "--dir",        folder_,  "--logfile",           "log"};
        words.insert(words.end(), arguments_.begin(), arguments_.end());
        if (std::find(words.begin(), words.end(), "--sentinel") != words.end()) {
            // A sentinel wants a file that it can write its state to.
            words.insert(words.begin() + 1, folder_ + "/sentinel.conf");
            std::ofstream(words[1]).flush();
        }
        std::vector<char*> argv;
        for (std::string& word : words) argv.push_back(word.data());
        argv.push_back(nullptr);
        pid_ = fork();
        if (pid_ != 0) return;
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        const int null = open("/dev/null", O_RDWR);
        dup2(null, STDOUT_FILENO);
        dup2(null, STDERR_FILENO);
        // A listener of the test that lives on in the server would take connections that nobody
        // answers.
        close_range(3, ~0U, 0);
        execvp(argv[0], argv.data());
        _exit(127);
    }

    // True once the server answers; false when it ended (a taken port) or stays silent for 10 s.
    bool launch() {
        spawn();
        const Clock& clock = SystemClock::instance();
        const MonotonicNs end = clock.now() + 10 * kSecond;
        while (clock.now() < end) {
            // Any answer will do: with a password it is NOAUTH.
            const Reply answer = ask({"PING"});
            const bool loading = answer.text.starts_with("LOADING");
            if (answer.kind != Reply::Kind::kNil && !loading) return true;
            if (waitpid(pid_, nullptr, WNOHANG) == pid_) {
                pid_ = -1;
                return false;
            }
            poll(nullptr, 0, 5);  // Until the next look.
        }
        kill_now();
        return false;
    }

    std::vector<std::string> arguments_;
    std::string folder_;
    int port_ = 0;
    pid_t pid_ = -1;
};

}  // namespace hearth
