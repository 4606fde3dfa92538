// end_of_turn: which tokens end a reply besides EOS, by the names that chat models give them.
#pragma once

#include "engine/model/vocabulary.h"

namespace hearth::engine {

// Adds to `spec.end_of_turn` each token that is not EOS and, being a control (or user-defined)
// token, bears a known name: many files name only one of the several tokens their template ends
// with. Sorts the list and drops repetitions. Marks of turns that a file calls user-defined become
// control tokens: user-defined ones are found in any text, so a user could write them.
void add_end_of_turn(VocabularySpec& spec);

}  // namespace hearth::engine
