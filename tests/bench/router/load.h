// The load: keep-alive connections that each ask, read the whole answer, and ask again.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "common/base/clock.h"
#include "tests/bench/router/sockets.h"

namespace hearth::bench {

// Ends the program with a message if an answer is not what it should be: there is nothing to
// measure then.
class Load {
  public:
    struct Options {
        std::uint16_t port = 0;
        std::size_t connections = 1;
        std::string path;
        std::size_t prompt_bytes = 2000;
    };
    struct Tally {
        std::uint64_t answers = 0;
        std::uint64_t events = 0;
        std::vector<double> latencies_us;  // Request's first byte to answer's last.
    };

    explicit Load(Options options);
    ~Load();
    Load(const Load&) = delete;
    Load& operator=(const Load&) = delete;

    // Asks on all connections for so long, and goes on where the last call left off.
    Tally run(MonotonicNs duration);
    // One request on each connection, one after the other; returns when each has its answer, or,
    // where the answer never ends, its first event.
    void ask_each_once();

  private:
    struct Client {
        int fd = -1;
        std::string session;
        Message answer;
        std::uint64_t events_seen = 0;
        MonotonicNs asked = 0;
    };
    void ask(Client& client);
    bool read_some(Client& client, Tally& tally);  // True at the end of an answer.

    Options options_;
    std::string before_session_;
    std::string after_session_;
    int epoll_;
    std::vector<Client> clients_;
    std::vector<char> buffer_;
    bool asking_ = false;
};

}  // namespace hearth::bench
