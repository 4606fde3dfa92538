// KvEventPublisher against real sockets: order, replay, limits, and subscribers that do not read.
#include "cachenode/publish/kv_event_publisher.h"

#include <gtest/gtest.h>
#include <zmq.h>

#include <cstdlib>

#include "common/base/clock.h"

namespace hearth {
namespace {

using Frames = std::vector<std::string>;

// A socket of the other side; each wait ends after ten seconds.
class Peer {
  public:
    Peer(int kind, const std::string& endpoint, int hwm = 1'000)
        : context_(zmq_ctx_new()), socket_(zmq_socket(context_, kind)) {
        set(ZMQ_RCVTIMEO, 10'000);
        set(ZMQ_LINGER, 0);
        set(ZMQ_RCVHWM, hwm);
        set(ZMQ_RCVBUF, 4'096);
        if (kind == ZMQ_SUB) zmq_setsockopt(socket_, ZMQ_SUBSCRIBE, "", 0);
        EXPECT_EQ(zmq_connect(socket_, endpoint.c_str()), 0) << endpoint;
    }
    ~Peer() {
        zmq_close(socket_);
        zmq_ctx_term(context_);
    }
    void set(int option, int value) { zmq_setsockopt(socket_, option, &value, sizeof value); }
    void send(const Frames& frames) {
        for (std::size_t i = 0; i < frames.size(); ++i) {
            const int more = i + 1 < frames.size() ? ZMQ_SNDMORE : 0;
            ASSERT_GE(zmq_send(socket_, frames[i].data(), frames[i].size(), more), 0);
        }
    }
    Frames receive() {
        Frames frames;
        int more = 1;
        while (more != 0) {
            zmq_msg_t frame;
            zmq_msg_init(&frame);
            if (zmq_msg_recv(&frame, socket_, 0) < 0) return {};
            frames.emplace_back(static_cast<const char*>(zmq_msg_data(&frame)),
                                zmq_msg_size(&frame));
            more = zmq_msg_more(&frame);
            zmq_msg_close(&frame);
        }
        return frames;
    }

  private:
    void* const context_;
    void* const socket_;
};

const std::string kEnd = sequence_bytes(~std::uint64_t{0});

class KvEventPublisherTest : public ::testing::Test {
  protected:
    void open(KvEventOptions options = {}) {
        options.endpoint = "tcp://127.0.0.1:*";
        if (options.replay_endpoint.empty()) options.replay_endpoint = "tcp://127.0.0.1:*";
        auto opened = KvEventPublisher::open(std::move(options), metrics_, clock_);
        ASSERT_TRUE(opened.ok()) << opened.error().message;
        publisher_ = std::move(*opened);
        publisher_->start();
    }

    // One removed page: a small batch, or part of one.
    void remove(std::uint64_t hash) {
        PageEvent event;
        event.kind = PageEvent::Kind::kRemoved;
        event.hash.low = hash;
        publisher_->log().page_changed(event);
    }

    // All answers to a request for the batches from `from` on, without the end.
    std::vector<Frames> replay(std::uint64_t from) {
        Peer peer(ZMQ_DEALER, publisher_->replay_endpoint(), 0);
        peer.send({"", sequence_bytes(from)});
        std::vector<Frames> out;
        for (;;) {
            Frames frames = peer.receive();
            EXPECT_EQ(frames.size(), 3u);
            if (frames.size() != 3 || frames[1] == kEnd) return out;
            EXPECT_EQ(frames[0], "");
            out.push_back(std::move(frames));
        }
    }
    // Removes pages, each of which becomes a batch of its own, until `batches` are kept.
    void publish_batches(std::size_t batches) {
        for (std::uint64_t hash = 0; replay(0).size() < batches; ++hash) remove(hash);
    }
    double metric(const std::string& series) {
        const std::string page = "\n" + metrics_.expose();
        const std::size_t at = page.find("\n" + series + " ");
        if (at == std::string::npos) return -1;
        return std::strtod(page.c_str() + at + series.size() + 2, nullptr);
    }
    static std::string cleared() {
        KvEvent event;
        event.kind = KvEvent::Kind::kCleared;
        return encode_kv_events(1.0, {&event, 1}, KvEventEncoding::kMap);
    }

    ManualClock clock_;
    Metrics metrics_;
    std::unique_ptr<KvEventPublisher> publisher_;
};

TEST_F(KvEventPublisherTest, ALifeBeginsAndEndsWithAllBlocksCleared) {
    open({.topic = "kv@a@b"});
    Peer peer(ZMQ_SUB, publisher_->endpoint());
    // A subscription takes a moment; whoever sees the first message asks for those before it.
    std::uint64_t hash = 1;
    peer.set(ZMQ_RCVTIMEO, 20);
    Frames first;
    while (first.empty() && hash < 1'000) {
        remove(hash++);
        first = peer.receive();
    }
    ASSERT_EQ(first.size(), 3u);
    EXPECT_EQ(first[0], "kv@a@b");
    const std::vector<Frames> before = replay(0);
    ASSERT_FALSE(before.empty());
    EXPECT_EQ(before[0][1], sequence_bytes(0));
    // Perhaps with what followed at once.
    EXPECT_EQ(before[0][2].find("AllBlocksCleared"), cleared().find("AllBlocksCleared"));
    for (std::size_t i = 0; i < before.size(); ++i) EXPECT_EQ(before[i][1], sequence_bytes(i));
    peer.set(ZMQ_RCVTIMEO, 10'000);
    publisher_->stop();
    Frames last;
    for (Frames next = first; !next.empty() && last != Frames{"", cleared()};) {
        next = peer.receive();
        if (next.size() == 3) last = {"", next[2]};
    }
    EXPECT_EQ(last[1], cleared());
}

TEST_F(KvEventPublisherTest, ReplayBeginsWhereItIsAskedAndKeepsTheNewest) {
    open({.buffer_steps = 5});
    publish_batches(5);
    for (std::uint64_t hash = 100; hash < 200; ++hash) {
        remove(hash);
        replay(0);  // Answered by the same thread: what was removed is a batch by then, or soon.
    }
    const std::vector<Frames> all = replay(0);
    ASSERT_EQ(all.size(), 5u);
    EXPECT_GT(all[0][1], sequence_bytes(0));
    const std::vector<Frames> some = replay(0);
    std::uint64_t third = 0;
    for (const char byte : some[2][1]) third = third << 8 | static_cast<unsigned char>(byte);
    EXPECT_EQ(replay(third).size(), 3u);
    EXPECT_EQ(replay(third)[0], some[2]);
    EXPECT_TRUE(replay(third + 1'000).empty());
    EXPECT_GT(metric("hearth_kv_event_replayed_batches_total"), 10);
}

TEST_F(KvEventPublisherTest, WhatIsNoRequestGetsNoAnswer) {
    open();
    for (const Frames& wrong : {Frames{""}, Frames{"x", std::string(8, '\0')}, Frames{"", "1"},
                                Frames{"", std::string(8, '\0'), ""}}) {
        Peer peer(ZMQ_DEALER, publisher_->replay_endpoint());
        peer.set(ZMQ_RCVTIMEO, 30);
        peer.send(wrong);
        EXPECT_TRUE(peer.receive().empty());
    }
    publish_batches(1);
}

TEST_F(KvEventPublisherTest, ASlowSubscriberLosesBatchesAndHoldsUpNobody) {
    open({.hwm = 2, .pages_max = 200'000});
    Peer slow(ZMQ_SUB, publisher_->endpoint(), 1);
    const std::string lagging = "hearth_kv_event_batches_total{result=\"lagging\"}";
    std::uint64_t hash = 0;
    for (int batch = 0; batch < 2'000 && metric(lagging) < 1; ++batch) {  // It reads nothing.
        for (int i = 0; i < 50'000; ++i) remove(++hash);
        replay(1'000'000'000);  // Answered by the thread that sends batches, after this one.
    }
    EXPECT_GE(metric(lagging), 1);
    EXPECT_GT(metric("hearth_kv_event_batches_total{result=\"ok\"}"), 0);
    // All batches are there for whoever missed them, in order and without a gap.
    const std::vector<Frames> kept = replay(0);
    ASSERT_GE(kept.size(), 3u);
    std::uint64_t next = 0;
    for (const char byte : kept[0][1]) next = next << 8 | static_cast<unsigned char>(byte);
    for (const Frames& batch : kept) EXPECT_EQ(batch[1], sequence_bytes(next++));
}

TEST_F(KvEventPublisherTest, AnEndpointThatIsTakenIsNamed) {
    open();
    KvEventOptions second;
    second.endpoint = publisher_->endpoint();
    const auto opened = KvEventPublisher::open(second, metrics_, clock_);
    ASSERT_FALSE(opened.ok());
    EXPECT_EQ(opened.error().code, ErrorCode::kInvalidArgument);
    EXPECT_NE(opened.error().message.find("kv_events_endpoint: 'tcp://"), std::string::npos)
        << opened.error().message;
}

TEST_F(KvEventPublisherTest, ConnectsToASubscriberThatListens) {
    void* const context = zmq_ctx_new();
    void* const socket = zmq_socket(context, ZMQ_SUB);
    zmq_setsockopt(socket, ZMQ_SUBSCRIBE, "", 0);
    const int patience = 10'000;
    zmq_setsockopt(socket, ZMQ_RCVTIMEO, &patience, sizeof patience);
    ASSERT_EQ(zmq_bind(socket, "tcp://127.0.0.1:*"), 0);
    char endpoint[128];
    std::size_t size = sizeof endpoint;
    zmq_getsockopt(socket, ZMQ_LAST_ENDPOINT, endpoint, &size);
    KvEventOptions options;
    options.endpoint = endpoint;
    options.connect = true;
    auto opened = KvEventPublisher::open(options, metrics_, clock_);
    ASSERT_TRUE(opened.ok()) << opened.error().message;
    publisher_ = std::move(*opened);
    publisher_->start();
    char topic[8];
    int got = -1;
    const int brief = 20;
    zmq_setsockopt(socket, ZMQ_RCVTIMEO, &brief, sizeof brief);
    for (std::uint64_t hash = 1; got < 0 && hash < 500; ++hash) {
        remove(hash);
        got = zmq_recv(socket, topic, sizeof topic, 0);
    }
    EXPECT_EQ(got, 0);  // An empty topic.
    publisher_.reset();
    zmq_close(socket);
    zmq_ctx_term(context);
}

}  // namespace
}  // namespace hearth
