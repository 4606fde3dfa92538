// Tokenizers in the shape of each family's tokenizer.json give the ids of the reference library:
// tests/golden/hf_tokenizers.py asked it once.
#include <gtest/gtest.h>

#include <boost/json.hpp>
#include <fstream>
#include <sstream>

#include "engine/formats/hf_model.h"
#include "tests/engine/text/vocabularies.h"

namespace hearth::engine {
namespace {

TEST(HfTokenizers, GiveTheIdsOfTheReferenceLibrary) {
    std::stringstream text;
    text << std::ifstream(HEARTH_SOURCE_DIR "/tests/golden/hf_tokenizers.json").rdbuf();
    const boost::json::value golden = boost::json::parse(text.str());
    const boost::json::array& strings = golden.at("strings").as_array();
    ASSERT_GE(strings.size(), 60u);
    ASSERT_EQ(golden.at("families").as_object().size(), 5u);
    for (const auto& entry : golden.at("families").as_object()) {
        SCOPED_TRACE(std::string(entry.key()));
        HfTokenizerFiles files;
        files.tokenizer = entry.value().at("tokenizer").as_object();
        const auto spec =
            read_hf_vocabulary(files, entry.value().at("size").to_number<std::int32_t>());
        ASSERT_TRUE(spec.ok()) << spec.error().message;
        const auto tokenizer = tokenizer_of(*spec);
        for (std::size_t i = 0; i < strings.size(); ++i) {
            const std::string asked(strings[i].as_string());
            const auto want =
                boost::json::value_to<std::vector<TokenId>>(entry.value().at("ids").at(i));
            EXPECT_EQ(ids_of(*tokenizer, asked, Tokenizer::Special::kParse), want) << asked;
        }
    }
}

}  // namespace
}  // namespace hearth::engine
