// transfer_bench: 1 GB of KV pulled from one node's tree into another's over loopback, beside the
// same bytes over a bare TCP connection in turn with it (what iperf3 does). Prints medians and
// share.
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <optional>
#include <thread>
#include <vector>

#include "cachenode/transfer/arrival.h"
#include "cachenode/transfer/http_transport.h"
#include "cachenode/transfer/peer_api.h"
#include "common/base/check.h"
#include "common/net/http_server.h"
#include "engine/engine.h"
#include "engine/model/checkpoint.h"
#include "engine/model/kv_layout.h"
#include "engine/text/tokenizer.h"

namespace hearth {
namespace {

constexpr std::int64_t kBytes = 1'000'000'000;
constexpr int kRounds = 5;
const SessionKey kSession{1, 2};

// A node without its HTTP server: scheduler and gate.
struct Node {
    Node(asio::io_context& io, const std::string& model) {
        auto loaded = engine::load_checkpoint(model);
        CHECK(loaded.ok());
        tokenizer = std::move(*engine::Tokenizer::make(loaded->vocabulary));
        SchedulerOptions options;
        options.kv_bytes_max = kBytes + kBytes / 4;
        engine::EngineOptions engine_options;
        engine_options.threads = 1;
        auto engine = engine::make_engine(std::move(*loaded), engine_options);
        CHECK(engine.ok());
        scheduler = std::make_shared<Scheduler>(std::move(*engine), *tokenizer, options,
                                                SystemClock::instance(), SchedulerObserver{});
        scheduler->start();
        gate = std::make_shared<KvGate>(io, scheduler);
    }
    std::unique_ptr<engine::Tokenizer> tokenizer;
    std::shared_ptr<Scheduler> scheduler;
    std::shared_ptr<KvGate> gate;
};

// On the scheduler's thread.
void fill(KvView& kv) {
    const auto page_bytes = static_cast<std::int64_t>(kv.tier.pool().page_bytes());
    const std::int64_t pages = kBytes / page_bytes;
    std::vector<engine::TokenId> tokens;
    PrefixUse use{.now = kv.now};
    use.owner = session_tag(kSession);
    PrefixTree::Lease lease = kv.tier.tree().match("", {}, use);
    for (std::int64_t i = 0; i < pages; ++i) {
        const std::vector<engine::TokenId> ids(engine::kPageTokens,
                                               static_cast<engine::TokenId>(i));
        tokens.insert(tokens.end(), ids.begin(), ids.end());
        const bool promised = kv.tier.promise(1);
        CHECK(promised);
        Page page = kv.tier.acquire();
        std::memset(page.data(), static_cast<int>(i), static_cast<std::size_t>(page_bytes));
        kv.tier.tree().extend(lease, ids, std::move(page), use);
    }
    const std::int64_t stored = std::ssize(tokens);
    kv.ledger.put(kSession, "", {std::move(tokens), stored, MissReason::kDiverged, 1, kv.now});
}

Task<void> pull(Node& node, Transport& transport, std::string peer, double& took_s) {
    const Clock& clock = SystemClock::instance();
    const std::string salt;
    Arrival arrival(*node.gate, kSession, salt);
    const MonotonicNs begun = clock.now();
    const auto pulled =
        co_await transport.pull(peer, kSession, salt, arrival, std::chrono::milliseconds(60'000));
    CHECK_MSG(pulled.ok(), pulled.ok() ? "" : pulled.error().message);
    const auto stored = co_await arrival.finish();
    took_s = seconds(clock.now() - begun);
    CHECK(stored.ok() && *stored >= kBytes / 2'000'000 * 64);
    (void)co_await node.gate->erase(kSession);
}

// The same bytes between two threads, by 128 KiB.
double bare_tcp_s() {
    asio::io_context io;
    Tcp::acceptor acceptor(io, Tcp::endpoint(asio::ip::make_address("127.0.0.1"), 0));
    Tcp::socket out(io), in(io);
    out.connect(acceptor.local_endpoint());
    acceptor.accept(in);
    const Clock& clock = SystemClock::instance();
    const MonotonicNs begun = clock.now();
    std::thread sender([&out] {
        const std::vector<char> block(128 << 10, 'x');
        for (std::int64_t left = kBytes; left > 0;) {
            const auto size = std::min<std::size_t>(block.size(), static_cast<std::size_t>(left));
            const auto sent = ::send(out.native_handle(), block.data(), size, 0);
            CHECK(sent > 0);
            left -= sent;
        }
    });
    std::vector<char> block(128 << 10);
    for (std::int64_t left = kBytes; left > 0;) {
        const auto got = ::recv(in.native_handle(), block.data(), block.size(), 0);
        CHECK(got > 0);
        left -= got;
    }
    sender.join();
    return seconds(clock.now() - begun);
}

double median(std::vector<double> values) {
    std::sort(values.begin(), values.end());
    return values[values.size() / 2];
}

int run() {
    const auto model = std::filesystem::temp_directory_path() /
                       ("transfer_bench." + std::to_string(::getpid()) + ".gguf");
    engine::TinyModelOptions shape;
    shape.layers = 16;
    shape.heads = shape.kv_heads = 8;
    shape.head_dim = 64;
    CHECK(engine::write_tiny_model(model.string(), shape).ok());
    asio::io_context here, there;
    Node taker(here, model.string()), holder(there, model.string());
    std::filesystem::remove(model);
    const std::size_t page_bytes = holder.gate->page_bytes();
    const PeerCredentials credentials{"", wire_format(1, page_bytes)};
    Metrics metrics;
    PeerApi api(credentials, {holder.gate, nullptr, std::make_shared<TransferMetrics>(metrics)});
    HttpServer server(there, {},
                      [&api](ServerExchange& exchange) { return api.serve(exchange, true); });
    CHECK(server.start().ok());
    holder.scheduler->post(fill);
    std::thread serving([&there] { there.run(); });
    HttpClient client(here);
    HttpTransport transport(client, credentials, page_bytes, SystemClock::instance());
    std::vector<double> ours, bare, shares;
    for (int round = 0; round < kRounds; ++round) {
        double took_s = 0;
        asio::co_spawn(here, pull(taker, transport, server.endpoint(), took_s),
                       [](std::exception_ptr failure) { CHECK(!failure); });
        here.restart();
        while (took_s == 0) here.run_one();
        here.run_for(std::chrono::milliseconds(50));  // The erasing.
        const double bare_s = bare_tcp_s();
        ours.push_back(static_cast<double>(kBytes) / 1e9 / took_s);
        bare.push_back(static_cast<double>(kBytes) / 1e9 / bare_s);
        shares.push_back(bare_s / took_s);
    }
    std::printf("pages of %zu bytes\n", page_bytes);
    std::printf("1 GB from tree to tree, verified: %.2f GB/s\n", median(ours));
    std::printf("1 GB over a bare connection:      %.2f GB/s\n", median(bare));
    std::printf("share:                            %.2f\n", median(shares));
    there.stop();
    serving.join();
    return 0;
}

}  // namespace
}  // namespace hearth

int main(int argc, char**) {
    if (argc > 1) {
        std::fprintf(stderr, "usage: hearth bench transfer\n");
        return 2;
    }
    return hearth::run();
}
