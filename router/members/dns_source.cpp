// The blocking calls of the system's resolver, and what their answers make of nodes.
#include "router/members/dns_source.h"

#include <arpa/inet.h>
#include <arpa/nameser.h>
#include <netdb.h>
#include <resolv.h>

#include <algorithm>
#include <array>
#include <map>
#include <memory>
#include <set>

#include "common/net/http_server.h"
#include "router/members/srv_answer.h"

namespace hearth {
namespace {

constexpr std::size_t kNodesMax = 4096;
constexpr std::string_view kSrvPrefix = "srv:";
// Of one server's answer, and how often each is asked: whoever waits for a name server that is gone
// waits for seconds, not for resolv.conf's half a minute.
constexpr int kAnswerSeconds = 1;
constexpr int kAsked = 2;

void be_brief(struct __res_state& state) {
    state.retrans = kAnswerSeconds;
    state.retry = kAsked;
}

Result<std::vector<StaticNode>> nodes_of_host(const std::string& source) {
    const auto parts = split_host_port(source);
    if (!parts) return parts.error();
    if (::res_init() == 0) be_brief(_res);  // This thread's own; getaddrinfo heeds it.
    addrinfo hints{};
    hints.ai_socktype = SOCK_STREAM;
    addrinfo* list = nullptr;
    const int failed = ::getaddrinfo(parts->first.c_str(), nullptr, &hints, &list);
    if (failed != 0)
        return make_error(ErrorCode::kUnavailable, source + ": " + ::gai_strerror(failed));
    const std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> owned(list, &::freeaddrinfo);
    const std::string port = std::to_string(parts->second);
    std::vector<StaticNode> nodes;
    for (const addrinfo* entry = list; entry != nullptr; entry = entry->ai_next) {
        std::array<char, NI_MAXHOST> text{};
        if (::getnameinfo(entry->ai_addr, entry->ai_addrlen, text.data(), text.size(), nullptr, 0,
                          NI_NUMERICHOST) != 0)
            continue;
        const std::string ip = text.data();
        StaticNode node;
        node.address = (entry->ai_family == AF_INET6 ? "[" + ip + "]" : ip) + ":" + port;
        node.node_id = parts->first + "." + ip + "-" + port;
        std::replace(node.node_id.begin(), node.node_id.end(), ':', '-');
        nodes.push_back(std::move(node));
    }
    return nodes;
}

Result<std::vector<StaticNode>> nodes_of_service(const std::string& name) {
    struct __res_state state {};
    if (::res_ninit(&state) != 0) return make_error(ErrorCode::kUnavailable, "no resolver");
    be_brief(state);
    std::array<unsigned char, 65536> answer;
    const int length =
        ::res_nquery(&state, name.c_str(), ns_c_in, ns_t_srv, answer.data(), answer.size());
    ::res_nclose(&state);
    if (length < 0) return make_error(ErrorCode::kUnavailable, name + ": no SRV answer");
    const auto size = std::min(static_cast<std::size_t>(length), answer.size());
    const auto records = srv_records_from({reinterpret_cast<const char*>(answer.data()), size});
    if (!records) return make_error(records.error().code, name + ": " + records.error().message);
    std::map<std::string, int> ports;
    double sum = 0;
    for (const SrvRecord& record : *records) {
        ++ports[record.target];
        sum += record.weight;
    }
    // Weights are relative: their mean is 1 here. None at all means equal ones (RFC 2782).
    const double mean = sum / static_cast<double>(records->size());
    std::vector<StaticNode> nodes;
    for (const SrvRecord& record : *records) {
        StaticNode node;
        const std::string port = std::to_string(record.port);
        node.node_id = ports[record.target] > 1 ? record.target + "-" + port : record.target;
        node.address = record.target + ":" + port;
        if (mean > 0) node.weight = std::clamp(record.weight / mean, 0.01, 100.0);
        nodes.push_back(std::move(node));
    }
    return nodes;
}

}  // namespace

Result<std::vector<StaticNode>> nodes_from_dns(const std::vector<std::string>& names) {
    std::vector<StaticNode> all;
    std::set<std::string> ids;
    for (const std::string& name : names) {
        const bool service = name.starts_with(kSrvPrefix);
        auto nodes =
            service ? nodes_of_service(name.substr(kSrvPrefix.size())) : nodes_of_host(name);
        if (!nodes) return nodes.error();
        for (StaticNode& node : *nodes)
            if (all.size() < kNodesMax && ids.insert(node.node_id).second)
                all.push_back(std::move(node));
    }
    if (all.empty()) return make_error(ErrorCode::kUnavailable, "no addresses");
    return all;
}

DnsSource::~DnsSource() {
    if (worker_.joinable()) worker_.join();
}

void DnsSource::ask() {
    done_ = false;
    worker_ = std::thread([this] {
        answer_ = nodes_from_dns(names_);
        done_ = true;
    });
}

Result<std::vector<StaticNode>> DnsSource::take() {
    worker_.join();
    return std::move(answer_);
}

}  // namespace hearth
