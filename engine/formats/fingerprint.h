// Fingerprint: one 64-bit hash (XXH3) of everything that decides what a model computes.
#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>

#include "engine/model/config.h"
#include "engine/model/vocabulary.h"

struct XXH3_state_s;

namespace hearth::engine {

// Equal sequences of add() calls give equal values on every machine. Not cryptographic: it tells
// models apart, it does not prove who made one. One owner.
class Fingerprint {
  public:
    Fingerprint();

    void add(std::span<const std::byte> bytes);  // Length first, so that parts cannot run together.
    void add(std::string_view text) { add(std::as_bytes(std::span(text))); }
    void add(std::integral auto value) { add_word(static_cast<std::uint64_t>(value)); }
    void add(float value);

    std::uint64_t value() const;

  private:
    void add_word(std::uint64_t word);

    struct Free {
        void operator()(XXH3_state_s* state) const;
    };
    std::unique_ptr<XXH3_state_s, Free> state_;
};

// Every field but the name: a renamed model computes the same.
void add_to(Fingerprint& fingerprint, const ModelConfig& config);
void add_to(Fingerprint& fingerprint, const VocabularySpec& vocabulary);

}  // namespace hearth::engine
