#include "compress/compress_weights.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <random>
#include <set>

#include "base/error.h"
#include "base/file.h"
#include "compress/compress_store.h"
#include "compress/matrix/nf4.h"
#include "compress/test_models.h"
#include "engine/generate.h"
#include "linear/values.h"
#include "measure/perplexity.h"
#include "model/test_steps.h"

namespace hunch {
namespace {
namespace fs = std::filesystem;

bool routes(const Linear& linear) { return linear.id.role == Role::kRouter || linear.id.role == Role::kSharedGate; }

// Plain, fused q, k and v, fused gate and up, experts with a shared one, biases, by input.
class CompressOf : public ::testing::TestWithParam<const char*> {};

TEST_P(CompressOf, EveryMatrixComesBackFromTheFileAlmostTheSame) {
  const TempFile out;
  const Engine engine = engine_of(golden_fixture(GetParam()));
  const std::vector<int32_t> ids = random_ids(engine, 400);
  const std::vector<float> before = logits_of(engine, std::span(ids).first(20));
  CompressOptions options;
  options.methods = parse_methods("gptq");
  options.target = {DType::kQ8_0, {}};
  options.text_name = "random.txt";
  const CompressReport report = compress_weights(engine, ids, options, out.path);
  EXPECT_EQ(worst_difference(logits_of(engine, std::span(ids).first(20)), before), 0.0f) << "the model has changed";
  const Engine small = engine_of(out.path);
  const std::vector<const Linear*> want = matrices(engine), got = matrices(small);
  ASSERT_EQ(got.size(), want.size());
  for (size_t i = 0; i < want.size(); ++i) {
    const Linear &w = *want[i], &g = *got[i];
    SCOPED_TRACE(fmt::format("{} of layer {}, expert {}", name_of(w.id.role), w.id.layer, w.id.expert));
    EXPECT_EQ(g.id, w.id);
    EXPECT_TRUE(std::ranges::equal(g.bias(), w.bias()));
    const double d = distance(floats_of(*engine.compute, w), floats_of(*small.compute, g));
    if (routes(w)) {
      EXPECT_EQ(d, 0);
    } else {
      EXPECT_LT(d, 0.1) << "errors are spread, but small";
      EXPECT_TRUE(d > 0 || w.n_in % 32 != 0);
    }
  }
  for (const auto& [role, r] : report.roles) EXPECT_LT(r.error, 0.01) << name_of(role);
  EXPECT_EQ(report.bytes, small.model->weights().bytes);
  EXPECT_EQ(small.model->file().meta.get_string("hunch.compress.methods"), "gptq");
}

INSTANTIATE_TEST_SUITE_P(Models, CompressOf,
                         ::testing::Values("llama_mha", "gemma2", "tiny_phi3", "tiny_falcon", "qwen2_moe",
                                           "tiny_mixtral", "opt_sparse"),
                         [](const auto& info) { return std::string(info.param); });

// Whatever stands where in a block: scales are folded so that the function stays. In f16 all scales are as good, and
// the search takes any.
TEST(Compress, AwqKeepsTheFunctionOfEveryArchitecture) {
  size_t n_scaled = 0;
  std::set<std::string> refused;
  for (const auto& entry : fs::directory_iterator(golden_fixture(""))) {
    if (!entry.is_directory()) continue;
    SCOPED_TRACE(entry.path().filename().string());
    const TempFile out;
    const Engine engine = engine_of(entry.path());
    const std::vector<int32_t> ids = random_ids(engine, 300), some(ids.begin(), ids.begin() + 20);
    CompressOptions options;
    options.methods = parse_methods("awq");
    options.target = {DType::kF16, {}};
    options.n_tokens = 256;
    try {
      compress_weights(engine, ids, options, out.path);
    } catch (const Error& e) {
      EXPECT_EQ(e.kind(), ErrorKind::kUnsupported) << e.what();
      refused.insert(entry.path().filename().string());
      continue;
    }
    const Engine scaled = engine_of(out.path);
    EXPECT_LT(distance(logits_of(engine, some), logits_of(scaled, some)), 0.01);
    const std::vector<const Linear*> want = matrices(engine), got = matrices(scaled);
    double most = 0;
    for (size_t i = 0; i < want.size(); ++i)
      most = std::max(most, distance(floats_of(*engine.compute, *want[i]), floats_of(*scaled.compute, *got[i])));
    n_scaled += most > 0.01;
  }
  EXPECT_GT(n_scaled, 30u);
  // Ternary already; layers that read the keys of others.
  EXPECT_EQ(refused, (std::set<std::string>{"tiny_bitnet", "tiny_gemma3n", "tiny_gemma4"}));
}

TEST(Compress, ALayerIsFittedToWhatTheCompressedOnesBeforeLeave) {
  const Engine engine = engine_of(golden_fixture("llama_mha"));
  const std::vector<int32_t> ids = random_ids(engine, 512);
  const TempFile out[2];
  CompressOptions options;
  options.methods = parse_methods("gptq");
  options.target = target_of({2, false, 32, false});
  for (const bool dense : {false, true}) {
    options.dense_inputs = dense;
    compress_weights(engine, ids, options, out[dense].path);
  }
  const Engine a = engine_of(out[0].path), b = engine_of(out[1].path);
  const std::vector<const Linear*> x = matrices(a), y = matrices(b);
  for (size_t i = 0; i < x.size(); ++i) {
    const double d = distance(floats_of(*a.compute, *x[i]), floats_of(*b.compute, *y[i]));
    if (x[i]->id.layer == 0) {
      EXPECT_EQ(d, 0) << "the first layer reads the same";
    } else if (!routes(*x[i])) {
      EXPECT_GT(d, 0);
    }
  }
}

TEST(Compress, WhoSharesATensorWithAChosenMatrixIsRounded) {
  const TempFile out;
  const Engine engine = engine_of(golden_fixture("tiny_phi3"));
  CompressOptions options;
  options.methods = parse_methods("magnitude");
  options.target = {DType::kF32, {}};
  options.roles = {Role::kGate};
  const CompressReport report = compress_weights(engine, random_ids(engine, 300), options, out.path);
  const Engine small = engine_of(out.path);
  const std::vector<const Linear*> want = matrices(engine), got = matrices(small);
  for (size_t i = 0; i < want.size(); ++i) {
    const double d = distance(floats_of(*engine.compute, *want[i]), floats_of(*small.compute, *got[i]));
    EXPECT_EQ(d == 0, want[i]->id.role != Role::kGate) << name_of(want[i]->id.role);
  }
  EXPECT_FALSE(report.notes.empty());
}

TEST(Compress, AnExpertThatTheTextNeverReachesIsNoted) {
  const TempFile out;
  const Engine engine = engine_of(golden_fixture("qwen2_moe"));
  CompressOptions options;
  options.methods = parse_methods("sparsegpt,gptq");
  options.target = {DType::kQ4_0, {}};
  options.sparsity = {0, 2, 4};
  options.sparsity.share = 0.5;
  const std::vector<int32_t> same(300, 7);  // one token: one way through the routers, and moments of rank one
  const CompressReport report = compress_weights(engine, same, options, out.path);
  size_t n_unseen = 0;
  for (const std::string& note : report.notes) n_unseen += note.find("never comes") != std::string::npos;
  EXPECT_GT(n_unseen, 0u);
  for (const auto& [role, r] : report.roles) EXPECT_GE(r.n_zeros, r.n_weights / 2) << name_of(role);
  for (float v : logits_of(engine_of(out.path), std::span(same).first(5))) ASSERT_TRUE(std::isfinite(v));
}

// Interrupted after one layer, and gone on with: the same bytes.
TEST(Compress, AnInterruptedRunGoesOnBitForBit) {
  for (const char* methods : {"sparsegpt,gptq", "awq"}) {
    SCOPED_TRACE(methods);
    const TempFile whole, parts;
    const Engine engine = engine_of(golden_fixture("llama_mha"));
    const std::vector<int32_t> ids = random_ids(engine, 512);
    CompressOptions options;
    options.methods = parse_methods(methods);
    options.target = {DType::kQ4_0, {}};
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
    EXPECT_TRUE(fs::exists(options.finished));
    CompressOptions other = options;
    other.damping = 0.02;
    CompressOptions turned = options;
    turned.rotated = {Role::kDown};
    EXPECT_NE(compress_key(engine.model->file(), ids, turned), compress_key(engine.model->file(), ids, options));
    if (options.methods.rounder == Rounder::kGptq) {
      const TempFile third;
      EXPECT_EQ(
          CompressStore(options.finished, compress_key(engine.model->file(), ids, other)).finished(512 * 64).n_layers,
          0u);
    }
    const CompressReport report = compress_weights(engine, ids, options, parts.path);
    EXPECT_EQ(report.n_resumed, 1u);
    EXPECT_FALSE(fs::exists(options.finished));
    EXPECT_TRUE(read_file(parts.path) == read_file(whole.path));
    size_t n = 0;
    for (const auto& [role, r] : report.roles) n += r.n_matrices;
    EXPECT_EQ(n, 14u);
  }
}

// In F32 the numbers are NF4's own, to the bit.
TEST(Compress, Nf4HasItsNumbers) {
  const TempFile out;
  const Engine engine = engine_of(golden_fixture("llama_mha"));
  CompressOptions options;
  options.methods = parse_methods("nf4");
  options.target = {DType::kF32, {}};
  compress_weights(engine, random_ids(engine, 300), options, out.path);
  const Engine small = engine_of(out.path);
  const std::vector<const Linear*> want = matrices(engine), got = matrices(small);
  for (size_t i = 0; i < want.size(); ++i) {
    Matrix W(want[i]->n_out, want[i]->n_in);
    W.values = floats_of(*engine.compute, *want[i]);
    EXPECT_EQ(floats_of(*small.compute, *got[i]), decode(nf4(W, true)).values) << name_of(want[i]->id.role);
  }
  // In NF4's blocks too, whatever their scales were rounded to.
  options.target = {DType::kNF4, {}};
  const TempFile blocks;
  compress_weights(engine, random_ids(engine, 300), options, blocks.path);
  const Engine in_blocks = engine_of(blocks.path);
  const std::vector<const Linear*> same = matrices(in_blocks);
  size_t n_blocks = 0;
  for (size_t i = 0; i < want.size(); ++i) {
    if (same[i]->rows().dtype != DType::kNF4) continue;
    ++n_blocks;
    EXPECT_EQ(floats_of(*in_blocks.compute, *same[i]), floats_of(*small.compute, *got[i]));
  }
  EXPECT_GT(n_blocks, 0u);
  options.target = {DType::kQ8_0, {}};
  const TempFile again;
  EXPECT_THROW(compress_weights(engine, random_ids(engine, 300), options, again.path), Error);
}

ErrorKind error_of(const Engine& engine, std::span<const int32_t> ids, const CompressOptions& options) {
  const TempFile out;
  try {
    compress_weights(engine, ids, options, out.path);
  } catch (const Error& e) {
    EXPECT_FALSE(fs::exists(out.path));
    return e.kind();
  }
  ADD_FAILURE() << "no error";
  return ErrorKind::kIo;
}

TEST(Compress, RefusesWhatMakesNoSense) {
  const Engine engine = engine_of(golden_fixture("llama_mha"));
  const std::vector<int32_t> ids = random_ids(engine, 300);
  CompressOptions good;
  good.methods = parse_methods("gptq");
  const auto with = [&](auto change) {
    CompressOptions options = good;
    change(options);
    return options;
  };
  EXPECT_EQ(error_of(engine, std::span(ids).first(100), good), ErrorKind::kUsage);
  EXPECT_EQ(error_of(engine, ids, with([](auto& o) { o.methods = {}; })), ErrorKind::kUsage);
  EXPECT_EQ(error_of(engine, ids, with([](auto& o) { o.damping = 0; })), ErrorKind::kUsage);
  EXPECT_EQ(error_of(engine, ids, with([](auto& o) { o.target.dtype = DType::kMXFP4; })), ErrorKind::kUnsupported);
  EXPECT_EQ(error_of(engine, ids, with([](auto& o) {
                       o.target = target_of({4, false, 96, false});
                     })),
            ErrorKind::kUsage);
  EXPECT_EQ(error_of(engine, ids, with([](auto& o) {
                       o.methods = parse_methods("wanda,gptq");
                       o.target.dtype = DType::kQ4_1;
                     })),
            ErrorKind::kUnsupported);
  Stop stop;
  stop.request();
  const StopScope scope(*engine.compute, &stop);
  EXPECT_EQ(error_of(engine, ids, good), ErrorKind::kInterrupted);
}

TEST(Compress, MethodsAreAPrunerAndARounder) {
  for (const char* list : {"rtn", "gptq", "awq", "magnitude", "wanda", "sparsegpt", "wanda,gptq", "sparsegpt,rtn",
                           "nf4", "w8a8", "smoothquant", "zeroquant", "llm-int8", "wanda,nf4", "sparsegpt,w8a8"})
    EXPECT_EQ(name_of(parse_methods(list)), list);
  for (const char* list :
       {"", "gptq,wanda", "wanda,sparsegpt", "rtn,gptq", "wanda,awq", "wanda,smoothquant", "wanda,", "GPTQ"})
    EXPECT_THROW(parse_methods(list), Error) << list;
}

// tiny_llama's down projections have 44 inputs.
TEST(Compress, MatricesThatAreNotAskedForNeedNotHoldGroups) {
  const TempFile out;
  const Engine engine = engine_of(golden_fixture("tiny_llama"));
  const std::vector<int32_t> ids = random_ids(engine, 400);
  CompressOptions options;
  options.methods = parse_methods("rtn");
  options.target = target_of({4, false, 32, false});
  EXPECT_THROW(check_compress(engine, ids, options), Error);
  std::erase(options.roles, Role::kDown);
  const CompressReport report = compress_weights(engine, ids, options, out.path);
  EXPECT_TRUE(report.roles.contains(Role::kUp));
  EXPECT_FALSE(report.roles.contains(Role::kDown));
}

}  // namespace
}  // namespace hunch
