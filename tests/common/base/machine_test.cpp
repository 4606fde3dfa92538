// machine: lists of processors, quotas of nested groups, memory nodes, and pinning for real.
#include "common/base/machine.h"

#include <gtest/gtest.h>
#include <linux/mempolicy.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <thread>

namespace hearth {
namespace {

TEST(CpuList, ReadsWhatTheKernelWrites) {
    const std::pair<const char*, std::vector<int>> cases[] = {
        {"0", {0}}, {"0-3", {0, 1, 2, 3}}, {"8,0-1", {0, 1, 8}}, {"2-3,3-4", {2, 3, 4}}};
    for (const auto& [text, want] : cases) {
        const auto got = parse_cpu_list(text);
        ASSERT_TRUE(got.ok()) << text << ": " << got.error().message;
        EXPECT_EQ(*got, want) << text;
    }
}

TEST(CpuList, RefusesTheRest) {
    for (const char* text : {"", "a", "0,", ",1", "1-", "-1", "3-1", "0 1", "0-1-2", "4096",
                             "99999999999", "0-99999999999", "0x1", "1.5"}) {
        const auto got = parse_cpu_list(text);
        ASSERT_FALSE(got.ok()) << text;
        EXPECT_EQ(got.error().code, ErrorCode::kInvalidArgument);
        EXPECT_NE(got.error().message.find("'" + std::string(text) + "'"), std::string::npos);
    }
}

TEST(CpuList, IsWrittenAsItIsRead) {
    for (const char* text : {"0", "0-3", "0-1,8", "1,3,5-7"})
        EXPECT_EQ(cpu_list(*parse_cpu_list(text)), text);
    EXPECT_EQ(cpu_list({}), "");
}

// A folder that looks like / to read_machine().
class FakeRoot {
  public:
    FakeRoot() { std::filesystem::remove_all(path_); }
    ~FakeRoot() { std::filesystem::remove_all(path_); }
    void put(const std::string& name, const std::string& text) {
        const std::filesystem::path file = path_ / name;
        std::filesystem::create_directories(file.parent_path());
        std::ofstream(file) << text << "\n";
    }
    Machine read() const { return read_machine(path_.string() + "/"); }

  private:
    const std::filesystem::path path_ =
        std::filesystem::path(testing::TempDir()) / ("machine_test." + std::to_string(::getpid()));
};

TEST(Machine, KnowsNoQuotaWhereNothingSaysSo) {
    FakeRoot root;
    EXPECT_EQ(root.read().quota, 0);
    EXPECT_TRUE(root.read().memory_nodes.empty());
    root.put("proc/self/cgroup", "0::/a.slice/b.service");
    root.put("sys/fs/cgroup/a.slice/b.service/cpu.max", "max 100000");
    EXPECT_EQ(root.read().quota, 0);
}

TEST(Machine, TakesTheLeastQuotaOfNestedGroups) {
    FakeRoot root;
    root.put("proc/self/cgroup", "0::/a.slice/b.service");
    root.put("sys/fs/cgroup/a.slice/b.service/cpu.max", "400000 100000");
    EXPECT_EQ(root.read().quota, 4);
    root.put("sys/fs/cgroup/a.slice/cpu.max", "250000 100000");
    EXPECT_EQ(root.read().quota, 2.5);
    root.put("sys/fs/cgroup/cpu.max", "50000 100000");  // A container's own group is its root.
    EXPECT_EQ(root.read().quota, 0.5);
}

TEST(Machine, ComputesWithWhatAffinityAndQuotaLeave) {
    EXPECT_EQ((Machine{{0, 1, 2, 3}, 0, {}, 4}).threads(), 4);
    EXPECT_EQ((Machine{{0, 1, 2, 3}, 2.5, {}, 4}).threads(), 2);
    EXPECT_EQ((Machine{{0, 1, 2, 3}, 0.5, {}, 4}).threads(), 1);
    EXPECT_EQ((Machine{{0, 1}, 64, {}, 2}).threads(), 2);
}

TEST(Machine, ReadsMemoryNodes) {
    FakeRoot root;
    root.put("sys/devices/system/node/online", "0,2");
    root.put("sys/devices/system/node/node0/cpulist", "0-1,4-5");
    root.put("sys/devices/system/node/node2/cpulist", "");  // Memory alone, such as CXL.
    const std::vector<std::vector<int>> want = {{0, 1, 4, 5}, {}, {}};
    EXPECT_EQ(root.read().memory_nodes, want);
    EXPECT_EQ(root.read().online, 0);
    root.put("sys/devices/system/cpu/online", "0-5,8");
    EXPECT_EQ(root.read().online, 7);
}

TEST(Machine, PinsAThread) {
    const std::vector<int> all = read_machine().cpus;
    for (const int cpu : {all.front(), all.back()}) {
        std::vector<int> pinned;
        std::thread([&] {
            ASSERT_TRUE(pin_this_thread(cpu));
            pinned = read_machine().cpus;
        }).join();
        EXPECT_EQ(pinned, std::vector<int>{cpu});
    }
    EXPECT_EQ(read_machine().cpus, all);
}

TEST(Machine, PrefersMemory) {
    bool done = false;
    int policy = -1;
    std::thread([&] {
        done = prefer_memory_of({0});
        ::syscall(SYS_get_mempolicy, &policy, nullptr, 0, nullptr, 0);
    }).join();
    if (!done) GTEST_SKIP() << "skipped: set_mempolicy is refused here";
    EXPECT_EQ(policy, MPOL_PREFERRED);
}

}  // namespace
}  // namespace hearth
