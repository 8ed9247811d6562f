// w8a8, smoothquant, zeroquant and llm-int8: from a model to a file, to a model.
#include <gtest/gtest.h>

#include <filesystem>
#include <set>

#include "base/error.h"
#include "base/file.h"
#include "compress/compress_store.h"
#include "compress/compress_weights.h"
#include "compress/convert.h"
#include "compress/test_models.h"
#include "io/int8_tensor.h"
#include "linear/int8.h"
#include "model/open_model.h"
#include "synth/synth.h"

namespace hunch {
namespace {
namespace fs = std::filesystem;

CompressOptions options_of(const char* methods) {
  CompressOptions options;
  options.methods = parse_methods(methods);
  options.target = {DType::kI8, {}};
  if (options.methods.rounder == Rounder::kZeroQuant) options.int8.scales = Int8Scales::kGroups;
  options.outliers_from = 2.5f;
  options.n_tokens = 256;
  return options;
}

struct Method {
  const char* name;
  bool static_inputs;
  Int8Scales scales;
};
constexpr Method kMethods[] = {{"w8a8", false, Int8Scales::kRow},         {"w8a8", true, Int8Scales::kMatrix},
                               {"zeroquant", false, Int8Scales::kGroups}, {"llm-int8", false, Int8Scales::kRow},
                               {"llm-int8", true, Int8Scales::kRow},      {"sparsegpt,w8a8", false, Int8Scales::kRow}};

// Plain, fused q, k and v, fused gate and up, experts with a shared one, biases, by input.
class Int8Of : public ::testing::TestWithParam<const char*> {};

TEST_P(Int8Of, EveryMatrixComesBackFromTheFile) {
  const Engine engine = engine_of(golden_fixture(GetParam()));
  const std::vector<int32_t> ids = random_ids(engine, 300), some(ids.begin(), ids.begin() + 20);
  const std::vector<float> logits = logits_of(engine, some);
  for (const Method& method : kMethods) {
    SCOPED_TRACE(fmt::format("{} {}", method.name, method.static_inputs));
    const TempFile out, back, blocks;
    CompressOptions options = options_of(method.name);
    options.int8.static_inputs = method.static_inputs;
    options.int8.scales = method.scales;
    const CompressReport report = compress_weights(engine, ids, options, out.path);
    EXPECT_EQ(worst_difference(logits_of(engine, some), logits), 0.0f) << "the model has changed";
    const Engine small = engine_of(out.path);
    EXPECT_EQ(report.bytes, small.model->weights().bytes);
    const bool prunes = options.methods.pruner != Pruner::kNone;
    EXPECT_LT(distance(logits, logits_of(small, some)), prunes ? 2 : 0.1);
    const std::vector<const Linear*> want = matrices(engine), got = matrices(small);
    ASSERT_EQ(got.size(), want.size());
    size_t n_int8 = 0;
    for (size_t i = 0; i < want.size(); ++i) {
      SCOPED_TRACE(
          fmt::format("{} of layer {}, expert {}", name_of(want[i]->id.role), want[i]->id.layer, want[i]->id.expert));
      EXPECT_EQ(got[i]->id, want[i]->id);
      EXPECT_TRUE(std::ranges::equal(got[i]->bias(), want[i]->bias()));
      const bool int8 = dynamic_cast<const Int8*>(got[i]);
      EXPECT_EQ(int8, InputMoments::covers(want[i]->id.role));
      const double d = distance(floats_of(*engine.compute, *want[i]), floats_of(*small.compute, *got[i]));
      EXPECT_EQ(d > 0, int8);
      EXPECT_LT(d, prunes ? 0.9 : 0.02);
      n_int8 += int8;
    }
    EXPECT_GT(n_int8, 0u);
    // Back to what everybody reads: the same numbers.
    convert_model(small.model->file(), back.path, {DType::kF32}, *small.compute);
    const Engine plain = engine_of(back.path);
    for (const Tensor& t : plain.model->file().tensors) EXPECT_EQ(t.name.find("int8"), t.name.npos) << t.name;
    const std::vector<const Linear*> again = matrices(plain);
    for (size_t i = 0; i < want.size(); ++i)
      EXPECT_EQ(floats_of(*plain.compute, *again[i]), floats_of(*small.compute, *got[i]));
    convert_model(small.model->file(), blocks.path, {DType::kQ8_0}, *small.compute);
    EXPECT_LT(distance(logits, logits_of(engine_of(blocks.path), some)), prunes ? 2 : 0.1);
    EXPECT_THROW(convert_model(small.model->file(), blocks.path, {DType::kQ4_0}, *small.compute), Error);
  }
}

INSTANTIATE_TEST_SUITE_P(Models, Int8Of,
                         ::testing::Values("llama_mha", "gemma2", "tiny_phi3", "tiny_falcon", "qwen2_moe",
                                           "tiny_mixtral", "opt_sparse"),
                         [](const auto& info) { return std::string(info.param); });

// Scales are folded so that the function stays: of an error in it the outputs would know nothing of the model's.
TEST(Int8Methods, SmoothQuantKeepsTheFunctionOfEveryArchitecture) {
  size_t n_scaled = 0;
  std::set<std::string> refused;
  for (const auto& entry : fs::directory_iterator(golden_fixture(""))) {
    if (!entry.is_directory()) continue;
    SCOPED_TRACE(entry.path().filename().string());
    const TempFile out;
    const Engine engine = engine_of(entry.path());
    const std::vector<int32_t> ids = random_ids(engine, 300), some(ids.begin(), ids.begin() + 20);
    CompressOptions options = options_of("smoothquant");
    options.alpha = 0.8;
    try {
      compress_weights(engine, ids, options, out.path);
    } catch (const Error& e) {
      EXPECT_EQ(e.kind(), ErrorKind::kUnsupported) << e.what();
      refused.insert(entry.path().filename().string());
      continue;
    }
    const Engine scaled = engine_of(out.path);
    EXPECT_LT(distance(logits_of(engine, some), logits_of(scaled, some)), 0.15);
    const std::vector<const Linear*> want = matrices(engine), got = matrices(scaled);
    double most = 0;
    for (size_t i = 0; i < want.size(); ++i)
      most = std::max(most, distance(floats_of(*engine.compute, *want[i]), floats_of(*scaled.compute, *got[i])));
    n_scaled += most > 0.1;
  }
  EXPECT_GT(n_scaled, 30u);
  // Ternary already; layers that read the keys of others.
  EXPECT_EQ(refused, (std::set<std::string>{"tiny_bitnet", "tiny_gemma3n", "tiny_gemma4"}));
}

TEST(Int8Methods, ABetterStrengthIsFoundInEveryLayer) {
  const Engine engine = engine_of(golden_fixture("llama_mha"));
  const std::vector<int32_t> ids = random_ids(engine, 300);
  const auto error = [&](std::optional<double> alpha) {
    const TempFile out;
    CompressOptions options = options_of("smoothquant");
    options.alpha = alpha;
    const CompressReport report = compress_weights(engine, ids, options, out.path);
    double sum = 0;
    for (const Role role : {Role::kQuery, Role::kKey, Role::kValue, Role::kGate, Role::kUp})
      sum += std::pow(report.roles.at(role).error, 2);
    return sum;
  };
  const double searched = error(std::nullopt);
  EXPECT_LT(searched, error(0.0));
  EXPECT_LT(searched, error(1.0));
}

TEST(Int8Methods, AnInterruptedRunGoesOnBitForBit) {
  for (const char* methods : {"smoothquant", "llm-int8"}) {
    SCOPED_TRACE(methods);
    const TempFile whole, parts;
    const Engine engine = engine_of(golden_fixture("llama_mha"));
    const std::vector<int32_t> ids = random_ids(engine, 300);
    CompressOptions options = options_of(methods);
    options.int8.static_inputs = true;
    compress_weights(engine, ids, options, whole.path);
    options.finished = parts.path.string() + ".partial";
    Stop stop;
    const auto interrupt = [&](std::string_view where, uint64_t, uint64_t) {
      if (where == "layer 1") stop.request();
    };
    {
      const StopScope scope(*engine.compute, &stop);
      EXPECT_THROW(compress_weights(engine, ids, options, parts.path, interrupt), Error);
    }
    CompressOptions other = options;
    other.int8.static_inputs = false;
    EXPECT_EQ(
        CompressStore(options.finished, compress_key(engine.model->file(), ids, other)).finished(256 * 64).n_layers,
        0u);
    EXPECT_EQ(compress_weights(engine, ids, options, parts.path).n_resumed, 1u);
    EXPECT_TRUE(read_file(parts.path) == read_file(whole.path));
  }
}

// Where outliers are planted the methods that were made for them do better than rounding as it is, and nearly as well
// as where there are none.
TEST(Int8Methods, OutliersComeOutAsPublished) {
  const auto errors = [](size_t n_outliers) {
    SynthOptions shape;
    shape.shape = synth_shape("llama-1.1b");
    shape.shape.n_layer = 2, shape.shape.n_embd = 128, shape.shape.n_ff = 256, shape.shape.n_head = 8;
    shape.shape.n_kv_head = 4, shape.shape.n_vocab = 1000, shape.shape.n_ctx = 128;
    shape.n_outliers = n_outliers;
    const TempFile file;
    Compute compute{2};
    write_synth(file.path, shape, compute);
    const Engine engine = engine_of(file.path);
    const std::vector<int32_t> ids = random_ids(engine, 300), some(ids.begin(), ids.begin() + 40);
    const std::vector<float> logits = logits_of(engine, some);
    std::map<std::string, double> error;
    for (const char* method : {"w8a8", "smoothquant", "llm-int8"}) {
      const TempFile out;
      CompressOptions options = options_of(method);
      options.outliers_from = 8;
      compress_weights(engine, ids, options, out.path);
      error[method] = distance(logits, logits_of(engine_of(out.path), some));
    }
    return error;
  };
  std::map<std::string, double> with = errors(4), without = errors(0);
  EXPECT_GT(with["w8a8"], 5 * without["w8a8"]);
  EXPECT_LT(with["smoothquant"], 0.4 * with["w8a8"]);
  EXPECT_LT(with["llm-int8"], 0.4 * with["w8a8"]);
  EXPECT_LT(with["smoothquant"], 2.5 * without["w8a8"]);
  EXPECT_LT(with["llm-int8"], 2.5 * without["w8a8"]);
}

TEST(Int8Methods, NotTwiceNorOfHalfOfWhatIsScaledTogether) {
  const TempFile out, again;
  const Engine engine = engine_of(golden_fixture("llama_mha"));
  const std::vector<int32_t> ids = random_ids(engine, 300);
  CompressOptions options = options_of("w8a8");
  options.roles = {Role::kUp};
  compress_weights(engine, ids, options, out.path);
  const Engine small = engine_of(out.path);
  for (const Linear* matrix : matrices(small))
    EXPECT_EQ(dynamic_cast<const Int8*>(matrix) != nullptr, matrix->id.role == Role::kUp);
  EXPECT_THROW(compress_weights(small, ids, options, again.path), Error);
  options.methods = parse_methods("smoothquant");
  EXPECT_THROW(compress_weights(engine, ids, options, again.path), Error);
  EXPECT_THROW(parse_methods("wanda,smoothquant"), Error);
}

}  // namespace
}  // namespace hunch
