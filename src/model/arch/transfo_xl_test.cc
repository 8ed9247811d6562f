// What the import makes of vocabularies in clusters, and of configs that do not fit.
#include <gtest/gtest.h>

#include "io/test_errors.h"
#include "model/arch/test_folder.h"

namespace hunch {
namespace {

// A checkpoint of no layers' weights but one's, 4 values wide, words 0-2, 3-4 and 5-8.
TestFolder folder(const std::string& more, size_t narrow = 2) {
  TestFolder f(R"({"model_type": "transfo-xl", "n_layer": 1, "d_model": 4, "n_head": 2, "d_head": 3, "d_inner": 5,
                   "d_embed": 4, "mem_len": 6, "cutoffs": [3, 5], "div_val": 2, )" +
               more + "}");
  const std::string words = "transformer.word_emb.", layer = "transformer.layers.0.";
  const size_t rows[] = {3, 2, 4}, widths[] = {4, narrow, 1};
  for (size_t i = 0; i < 3; ++i) {
    const std::string n = std::to_string(i);
    f.add(words + "emb_layers." + n + ".weight", {rows[i], widths[i]}).add("crit.out_layers." + n + ".bias", {rows[i]});
    f.add(words + "emb_projs." + n, {4, i == 1 ? 2 : widths[i]}).add("crit.out_projs." + n, {4, widths[i]});
  }
  f.add("crit.cluster_weight", {2, 4}).add("crit.cluster_bias", {2});
  f.add(layer + "dec_attn.qkv_net.weight", {18, 4}).add(layer + "dec_attn.o_net.weight", {4, 6});
  f.add(layer + "dec_attn.r_net.weight", {6, 4}).add_with_bias(layer + "dec_attn.layer_norm", {4});
  f.add("transformer.r_w_bias", {2, 3}).add("transformer.r_r_bias", {2, 3});
  f.add_with_bias(layer + "pos_ff.CoreNet.0", {5, 4}).add_with_bias(layer + "pos_ff.CoreNet.3", {4, 5});
  f.add_with_bias(layer + "pos_ff.layer_norm", {4});
  return f;
}

TEST(TransfoXlImport, MultipliesClustersOut) {
  const TestFolder f = folder(R"("tie_projs": [false, true, false])");
  const ModelFile file = f.import("transfo-xl");
  const Tensor &in = file.get("token_embd.weight"), &out = file.get("output.weight");
  EXPECT_EQ(in.shape, (std::vector<uint64_t>{9, 4}));
  EXPECT_EQ(file.meta.get_ints("transfo-xl.vocabulary_ends"), (std::vector<int64_t>{3, 5, 9}));
  const std::vector<float> embedding = TestFolder::floats(in), output = TestFolder::floats(out);
  const std::vector<float> second = f.values("transformer.word_emb.emb_layers.1.weight"),
                           projection = f.values("transformer.word_emb.emb_projs.1");
  for (size_t i = 0; i < 2; ++i)
    for (size_t j = 0; j < 4; ++j) {
      const float want = second[i * 2] * projection[j * 2] + second[i * 2 + 1] * projection[j * 2 + 1];
      EXPECT_NEAR(embedding[(3 + i) * 4 + j], want, 1e-6);
      EXPECT_EQ(output[(3 + i) * 4 + j], embedding[(3 + i) * 4 + j]) << "tied";
    }
  for (const size_t row : {0, 5}) EXPECT_NE(output[row * 4], embedding[row * 4]) << "has a projection of its own";
  const std::vector<float> clusters = f.values("crit.cluster_weight"), first = f.values("crit.out_projs.0");
  float want = 0;
  for (size_t a = 0; a < 4; ++a) want += clusters[4 + a] * first[2 * 4 + a];
  EXPECT_NEAR(TestFolder::floats(file.get("output_clusters.weight"))[4 + 2], want, 1e-6);
  EXPECT_EQ(TestFolder::floats(file.get("blk.0.attn_content_bias")), f.values("transformer.r_w_bias"));
  EXPECT_EQ(file.find("output.weight") != nullptr, true);
  EXPECT_EQ(folder(R"("tie_projs": [true, true, true])").import("transfo-xl").find("output.weight"), nullptr);
}

TEST(TransfoXlImport, SaysWhatDoesNotFit) {
  const auto message = [](const std::string& more, ErrorKind kind, size_t narrow = 2) {
    return message_of(kind, [&] { config_from_gguf(folder(more, narrow).import("transfo-xl")); });
  };
  EXPECT_NE(message(R"("attn_type": 2)", ErrorKind::kUnsupported).find("attn_type is 2"), std::string::npos);
  EXPECT_NE(message(R"("cutoffs": [3, 2])", ErrorKind::kFormat).find("grow"), std::string::npos);
  EXPECT_NE(message(R"("cutoffs": 3)", ErrorKind::kFormat).find("list"), std::string::npos);
  EXPECT_NE(message(R"("tie_projs": [false, true, true])", ErrorKind::kFormat, 3).find("vectors of 3"),
            std::string::npos);
  EXPECT_NE(message(R"("mem_len": 0)", ErrorKind::kFormat).find("memory"), std::string::npos);
  EXPECT_NE(message(R"("cutoffs": [3, 5, 8])", ErrorKind::kNotFound).find("emb_layers.3"), std::string::npos);
}

TEST(TransfoXlConfig, OfFilesThatSayOtherwiseIsRefused) {
  for (const std::vector<uint32_t>& ends : {std::vector<uint32_t>{3, 5, 8}, {5, 3, 9}, {3, 5, 9, 12}, {0, 9}}) {
    ModelFile file = folder("\"tie_projs\": []").import("transfo-xl");
    file.meta.set("transfo-xl.vocabulary_ends", MetaArray(ends));
    message_of(ErrorKind::kFormat, [&] { config_from_gguf(file); });
  }
}

}  // namespace
}  // namespace hunch
