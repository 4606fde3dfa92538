// Result<T>: a value or an Error; how every room reports the world's failures (never our own bugs).
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <variant>

#include "common/base/check.h"

namespace hearth {

// Numbered so that logs, exit codes and tests can name a failure without matching its text.
enum class ErrorCode : int {
    kInvalidArgument = 1,  // The caller's input is wrong; the message names field, file or limit.
    kNotFound = 2,         // The thing named does not exist.
    kCorrupt = 3,          // Bytes contradict their own header or checksum.
    kUnsupported = 4,      // Well formed, but a kind that Hearth does not handle.
    kTooLarge = 5,         // A stated limit was exceeded; the message says which.
    kTimeout = 6,          // A deadline passed.
    kUnavailable = 7,      // A peer, a file or a device cannot be reached now.
    kCancelled = 8,        // The one who asked has left.
    kExhausted = 9,        // A bounded resource (pages, queue, slots) is full.
};

const char* to_string(ErrorCode code);

struct Error {
    ErrorCode code = ErrorCode::kInvalidArgument;
    std::string message;
};

template <typename T>
class [[nodiscard]] Result {
  public:
    Result(T value) : state_(std::in_place_index<0>, std::move(value)) {}      // NOLINT: implicit
    Result(Error error) : state_(std::in_place_index<1>, std::move(error)) {}  // NOLINT: implicit

    bool ok() const { return state_.index() == 0; }
    explicit operator bool() const { return ok(); }

    T& value() & { return checked(); }
    const T& value() const& { return const_cast<Result*>(this)->checked(); }
    T&& value() && { return std::move(checked()); }
    T& operator*() & { return checked(); }
    const T& operator*() const& { return value(); }
    T&& operator*() && { return std::move(checked()); }
    T* operator->() { return &checked(); }
    const T* operator->() const { return &value(); }

    const Error& error() const {
        CHECK(!ok());
        return std::get<1>(state_);
    }

  private:
    T& checked() {
        CHECK_MSG(ok(), std::get<1>(state_).message);
        return std::get<0>(state_);
    }

    std::variant<T, Error> state_;
};

template <>
class [[nodiscard]] Result<void> {
  public:
    Result() = default;
    Result(Error error) : error_(std::move(error)) {}  // NOLINT: implicit

    bool ok() const { return !error_.has_value(); }
    explicit operator bool() const { return ok(); }
    const Error& error() const {
        CHECK(error_.has_value());
        return *error_;
    }

  private:
    std::optional<Error> error_;
};

inline Error make_error(ErrorCode code, std::string message) {
    return {code, std::move(message)};
}

}  // namespace hearth
