// KvEventPublisher over libzmq. Its thread sleeps until events wait or someone asks for a replay.
#include "cachenode/publish/kv_event_publisher.h"

#include <sys/eventfd.h>
#include <unistd.h>
#include <zmq.h>

#include <array>
#include <cerrno>
#include <optional>
#include <string_view>
#include <utility>

#include "common/base/check.h"
#include "common/base/log.h"

namespace hearth {
namespace {

constexpr std::size_t kKeptBytesMax = 64 << 20;
constexpr int kLingerMs = 200;

template <typename T>  // int, save for ZMQ_MAXMSGSIZE.
void set(void* socket, int option, T value) {
    CHECK(zmq_setsockopt(socket, option, &value, sizeof value) == 0);
}

// False when a subscriber's queue is full (or, of a ROUTER, the asker has gone).
bool send(void* socket, std::string_view frame, int more) {
    int done = -1;
    do {
        done = zmq_send(socket, frame.data(), frame.size(), ZMQ_DONTWAIT | more);
    } while (done < 0 && errno == EINTR);
    return done >= 0;
}

// The frames of the next message; none when there is no message.
std::vector<std::string> receive(void* socket) {
    std::vector<std::string> frames;
    int more = 1;
    while (more != 0) {
        zmq_msg_t frame;
        zmq_msg_init(&frame);
        if (zmq_msg_recv(&frame, socket, ZMQ_DONTWAIT) < 0) {
            zmq_msg_close(&frame);
            if (errno == EINTR) continue;
            return {};
        }
        frames.emplace_back(static_cast<const char*>(zmq_msg_data(&frame)), zmq_msg_size(&frame));
        more = zmq_msg_more(&frame);
        zmq_msg_close(&frame);
    }
    return frames;
}

}  // namespace

// The context, both sockets and the bell that wakes the thread. Used by one thread at a time.
class KvEventPublisher::Sockets {
  public:
    Sockets() : context(zmq_ctx_new()), bell(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)) {
        CHECK(context != nullptr && bell >= 0);
    }
    ~Sockets() {
        for (void* socket : {pub, replay})
            if (socket != nullptr) zmq_close(socket);
        zmq_ctx_term(context);  // Waits for what lingers.
        close(bell);
    }
    Sockets(const Sockets&) = delete;
    Sockets& operator=(const Sockets&) = delete;

    Result<void> open(const KvEventOptions& options);
    void ring() const {
        const std::uint64_t one = 1;
        const ssize_t written = write(bell, &one, sizeof one);
        CHECK(written == sizeof one || errno == EAGAIN);
    }
    static std::string endpoint_of(void* socket) {
        std::array<char, 512> text{};
        std::size_t size = text.size();
        CHECK(zmq_getsockopt(socket, ZMQ_LAST_ENDPOINT, text.data(), &size) == 0);
        return text.data();
    }

    void* const context;
    void* pub = nullptr;
    void* replay = nullptr;  // Null: none.
    const int bell;

  private:
    static Result<void> attach(void* socket, const std::string& endpoint, bool connect,
                               const char* setting);
};

Result<void> KvEventPublisher::Sockets::attach(void* socket, const std::string& endpoint,
                                               bool connect, const char* setting) {
    if (endpoint.find('[') != std::string::npos) set(socket, ZMQ_IPV6, 1);
    const int done =
        connect ? zmq_connect(socket, endpoint.c_str()) : zmq_bind(socket, endpoint.c_str());
    if (done == 0) return {};
    return make_error(ErrorCode::kInvalidArgument,
                      std::string(setting) + ": '" + endpoint + "': " + zmq_strerror(errno));
}

Result<void> KvEventPublisher::Sockets::open(const KvEventOptions& options) {
    pub = zmq_socket(context, ZMQ_PUB);
    CHECK(pub != nullptr);
    set(pub, ZMQ_LINGER, kLingerMs);
    set(pub, ZMQ_SNDHWM, static_cast<int>(options.hwm));
    set(pub, ZMQ_XPUB_NODROP, 1);  // A full queue is an error, which we count.
    if (auto ok = attach(pub, options.endpoint, options.connect, "kv_events_endpoint"); !ok)
        return ok;
    if (options.replay_endpoint.empty()) return {};
    replay = zmq_socket(context, ZMQ_ROUTER);
    CHECK(replay != nullptr);
    set(replay, ZMQ_LINGER, 0);
    // One whole answer fits an asker's queue; who asks again without reading loses some of it.
    set(replay, ZMQ_SNDHWM, static_cast<int>(options.buffer_steps + 1));
    set(replay, ZMQ_MAXMSGSIZE, std::int64_t{256});  // Requests are 8 bytes.
    return attach(replay, options.replay_endpoint, false, "kv_events_replay_endpoint");
}

Result<std::unique_ptr<KvEventPublisher>> KvEventPublisher::open(KvEventOptions options,
                                                                 Metrics& metrics,
                                                                 const Clock& clock) {
    auto sockets = std::make_unique<Sockets>();
    if (auto opened = sockets->open(options); !opened) return opened.error();
    return std::unique_ptr<KvEventPublisher>(
        new KvEventPublisher(std::move(options), std::move(sockets), metrics, clock));
}

KvEventPublisher::KvEventPublisher(KvEventOptions options, std::unique_ptr<Sockets> sockets,
                                   Metrics& metrics, const Clock& clock)
    : options_(std::move(options)),
      clock_(clock),
      sockets_(std::move(sockets)),
      endpoint_(Sockets::endpoint_of(sockets_->pub)),
      log_(options_.pages_max, [this] { sockets_->ring(); }) {
    if (sockets_->replay != nullptr) replay_endpoint_ = Sockets::endpoint_of(sockets_->replay);
    constexpr const char* kBatches = "hearth_kv_event_batches_total";
    constexpr const char* kHelp =
        "Batches of KV events: sent to all subscribers that keep up, found a subscriber's queue "
        "full "
        "(who loses batches from then on until it has read some), or lost to all as events came "
        "faster than they could be written.";
    sent_ = metrics.counter(kBatches, kHelp, {{"result", "ok"}});
    lagging_ = metrics.counter(kBatches, kHelp, {{"result", "lagging"}});
    overflowed_ = metrics.counter(kBatches, kHelp, {{"result", "overflow"}});
    replayed_ = metrics.counter("hearth_kv_event_replayed_batches_total",
                                "Batches of KV events sent again to subscribers that asked.");
    log_.clear();  // Whoever knew an earlier life of this node shall forget it.
}

KvEventPublisher::~KvEventPublisher() {
    stop();
}

void KvEventPublisher::start() {
    thread_ = std::thread([this] { run(); });
}

void KvEventPublisher::stop() {
    if (!thread_.joinable()) return;
    log_.clear();
    is_stopping_ = true;
    sockets_->ring();
    thread_.join();
}

void KvEventPublisher::run() {
    std::array<zmq_pollitem_t, 2> items = {
        {{nullptr, sockets_->bell, ZMQ_POLLIN, 0}, {sockets_->replay, 0, ZMQ_POLLIN, 0}}};
    const int count = sockets_->replay != nullptr ? 2 : 1;
    while (!is_stopping_) {
        if (zmq_poll(items.data(), count, -1) < 0) {
            CHECK(errno == EINTR);
            continue;
        }
        std::uint64_t rings = 0;
        const bool has_rung = read(sockets_->bell, &rings, sizeof rings) > 0;
        if (has_rung) publish_waiting();
        if (count == 2 && (items[1].revents & ZMQ_POLLIN) != 0) answer_replay();
    }
    publish_waiting();
}

void KvEventPublisher::publish_waiting() {
    const std::vector<KvEvent> events = log_.take();
    const std::int64_t overflows = log_.overflows();
    overflowed_.add(static_cast<double>(overflows - std::exchange(overflows_seen_, overflows)));
    if (events.empty()) return;
    Batch batch{next_sequence_++,
                encode_kv_events(unix_seconds(clock_), events, options_.encoding)};
    const bool is_taken = send(sockets_->pub, options_.topic, ZMQ_SNDMORE);
    (is_taken ? sent_ : lagging_).add();
    if (!is_taken) {  // The others get it.
        set(sockets_->pub, ZMQ_XPUB_NODROP, 0);
        send(sockets_->pub, options_.topic, ZMQ_SNDMORE);
    }
    send(sockets_->pub, sequence_bytes(batch.sequence), ZMQ_SNDMORE);
    send(sockets_->pub, batch.payload, 0);
    if (!is_taken) set(sockets_->pub, ZMQ_XPUB_NODROP, 1);
    keep(std::move(batch));
}

void KvEventPublisher::keep(Batch batch) {
    if (sockets_->replay == nullptr) return;
    kept_bytes_ += batch.payload.size();
    kept_.push_back(std::move(batch));
    while (std::ssize(kept_) > options_.buffer_steps || kept_bytes_ > kKeptBytesMax) {
        kept_bytes_ -= kept_.front().payload.size();
        kept_.pop_front();
    }
}

void KvEventPublisher::answer_replay() {
    const std::vector<std::string> request = receive(sockets_->replay);
    if (request.size() != 3 || !request[1].empty() || request[2].size() != 8) {
        if (!request.empty())
            log::debug("a request for KV events is no empty frame and 8 bytes",
                       {{"frames", request.size()}});
        return;
    }
    std::uint64_t from = 0;
    for (const char byte : request[2]) from = from << 8 | static_cast<unsigned char>(byte);
    const auto answer = [&](std::string_view sequence, std::string_view payload) {
        return send(sockets_->replay, request[0], ZMQ_SNDMORE) &&
               send(sockets_->replay, {}, ZMQ_SNDMORE) &&
               send(sockets_->replay, sequence, ZMQ_SNDMORE) && send(sockets_->replay, payload, 0);
    };
    for (const Batch& batch : kept_) {
        if (batch.sequence < from) continue;
        if (!answer(sequence_bytes(batch.sequence), batch.payload)) return;
        replayed_.add();
    }
    answer(sequence_bytes(~std::uint64_t{0}), {});
}

}  // namespace hearth
