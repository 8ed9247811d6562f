// A model whose weights are read on demand answers as one that is in memory, bit for bit; what the disk does wrong is
// an error, and nothing else.
#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>

#include "base/error.h"
#include "engine/context.h"
#include "engine/engine.h"
#include "engine/test_texts.h"
#include "io/gguf.h"
#include "linear/test_disk.h"
#include "linear/weight_disk.h"
#include "model/bundles.h"
#include "model/open_model.h"
#include "synth/sidecar.h"
#include "synth/synth.h"

namespace hunch {
namespace {
namespace fs = std::filesystem;

struct Case {
  const char* name;
  const char* shape;
  DType dtype;
};

const Case kCases[] = {{"opt_f16", "opt-125m", DType::kF16},
                       {"opt_q4_0", "opt-125m", DType::kQ4_0},
                       {"reglu_q8_0", "reglu-3b", DType::kQ8_0},
                       {"swiglu_q4_k", "llama-1.1b", DType::kQ4_K},
                       {"mixtral_q4_0", "mixtral-8x7b", DType::kQ4_0}};

SynthOptions small(const Case& c) {
  SynthOptions o;
  o.shape = synth_shape(c.shape);
  o.shape.n_layer = o.shape.is_mixture() ? 3 : 6;
  o.shape.n_embd = 256;
  o.shape.n_ff = o.shape.is_mixture() ? 512 : 1024;
  o.shape.n_head = 8;
  o.shape.n_kv_head = o.shape.arch == "opt" ? 8 : 4;
  o.shape.n_vocab = 1000;
  o.shape.n_ctx = 128;
  o.dtype = c.dtype;
  if (is_relu_family(o.shape.activation)) {
    o.planting.density.assign(o.shape.n_layer, 0.1);
    o.planting.n_contexts = 16;
  }
  return o;
}

class LargerThanMemory : public testing::TestWithParam<Case> {
 protected:
  fs::path path_ = fs::path(HUNCH_BINARY_DIR) / ("larger_" + std::string(GetParam().name) + std::to_string(getpid()));
  const SynthOptions options_ = small(GetParam());
  const bool chooses_ = is_relu_family(options_.shape.activation);
  FaultyReader* reader_ = nullptr;

  void SetUp() override {
    Compute compute(2);
    write_synth(path_, options_, compute);
    if (chooses_) write_sidecar(sidecar_path(path_), synth_sidecar(options_, open_gguf(path_)));
  }
  void TearDown() override {
    for (const fs::path& path : {path_, sidecar_path(path_), bundles_path(path_)}) fs::remove(path);
  }
  Engine mapped() { return load_engine(path_, {.n_threads = 2}); }
  // With memory for what stays, and a share of the rest.
  Engine on_demand(double share = 0.55, DiskReaderKind kind = DiskReaderKind::kAuto) {
    const ModelFile file = open_gguf(path_);
    uint64_t all = 0, mlps = 0;
    for (const Tensor& t : file.tensors) {
      all += t.data.size();
      if (t.name.find("ffn_") != t.name.npos && t.name.find("_norm") == t.name.npos) mlps += t.data.size();
    }
    return load_engine(path_, {.n_threads = 2,
                               .weight_memory = uint64_t(std::max(1000.0, double(all - mlps) + share * double(mlps))),
                               .disk_reader = [this, kind] {
                                 auto reader = std::make_unique<FaultyReader>();
                                 reader->reader = make_disk_reader(kind);
                                 reader_ = reader.get();
                                 return reader;
                               }});
  }
  // The logits of a prompt and of some tokens after it.
  static std::vector<float> answer(const Engine& engine, const char* mode) {
    Context context(engine, {.n_ctx = 64, .mode = mode});
    return answer(engine, context);
  }
  static std::vector<float> answer(const Engine& engine, Context& context) {
    std::vector<float> all;
    const std::vector<int32_t> ids = some_ids(engine, 24, 5);
    const auto note = [&](std::span<const float> logits) { all.insert(all.end(), logits.begin(), logits.end()); };
    note(context.append(std::span(ids).first(9)));
    for (size_t i = 9; i < ids.size(); ++i) note(context.decode(std::span(ids).subspan(i, 1)));
    return all;
  }
  std::vector<const char*> modes() const {
    return chooses_ ? std::vector<const char*>{"dense", "exact", "sparse"} : std::vector<const char*>{"dense"};
  }
};

TEST_P(LargerThanMemory, AnswersAsIfItWereMapped) {
  for (const char* mode : modes()) {
    const std::vector<float> want = answer(mapped(), mode);
    for (const bool bundles : {false, true}) {
      if (bundles && !chooses_) continue;
      if (bundles) write_bundles(bundles_path(path_), open_gguf(path_));
      for (const DiskReaderKind kind : {DiskReaderKind::kAuto, DiskReaderKind::kThreads}) {
        const Engine engine = on_demand(0.75, kind);
        EXPECT_EQ(answer(engine, mode), want) << mode << (bundles ? ", bundles" : "");
        const WeightDisk& disk = *engine.model->weights().disk;
        EXPECT_LE(disk.kept_bytes(), disk.room_bytes());
        EXPECT_GT(disk.stats().n_bytes, 0u);
        if (mode == std::string("exact")) EXPECT_GT(disk.stats().n_neurons, disk.stats().n_neurons_missed);
      }
      fs::remove(bundles_path(path_));
    }
  }
}

TEST_P(LargerThanMemory, WhatIsChosenIsAllThatIsRead) {
  if (GetParam().dtype != DType::kF16) GTEST_SKIP() << "nothing is chosen, or rows are smaller than blocks of the disk";
  write_bundles(bundles_path(path_), open_gguf(path_));
  const auto bytes_read = [&](const char* mode) {
    const Engine engine = on_demand(0.75);
    Context context(engine, {.n_ctx = 64, .mode = mode});
    const std::vector<int32_t> ids = some_ids(engine, 40, 5);
    context.append(std::span(ids).first(2));
    const uint64_t before = engine.model->weights().disk->stats().n_bytes;
    for (size_t i = 2; i < ids.size(); ++i) context.decode(std::span(ids).subspan(i, 1));
    return engine.model->weights().disk->stats().n_bytes - before;
  };
  const uint64_t dense = bytes_read("dense"), exact = bytes_read("exact"), sparse = bytes_read("sparse");
  EXPECT_LT(exact, dense);
  EXPECT_LT(sparse, exact);
}

TEST_P(LargerThanMemory, AReadThatFailsIsAnErrorAndTheNextTryIsWhole) {
  for (const char* mode : modes()) {
    const std::vector<float> want = answer(mapped(), mode);
    const Engine engine = on_demand(0.75);
    size_t n_errors = 0;
    for (size_t n = 0; n < 60; n += 25) {
      Context context(engine, {.n_ctx = 64, .mode = mode});
      reader_->for_good = true;
      reader_->fails_after = n;
      try {
        answer(engine, context);
      } catch (const Error& e) {
        ++n_errors;
        EXPECT_EQ(e.kind(), ErrorKind::kIo);
      }
      reader_->fails_after = SIZE_MAX;
      context.truncate(0);
      EXPECT_EQ(answer(engine, context), want) << mode << " after a failure of read " << n;
    }
    EXPECT_GT(n_errors, 0u) << mode;
  }
}

TEST_P(LargerThanMemory, AFileThatBecomesShorterIsAnError) {
  const Engine engine = on_demand(0.75);
  Context context(engine, {.n_ctx = 64, .mode = "dense"});
  const std::vector<int32_t> ids = some_ids(engine, 4, 5);
  context.append(std::span(ids).first(3));
  const uint64_t size = fs::file_size(path_);
  // What stays and lies behind was copied out of the map; maps of what is gone would end the program.
  const Tensor& first = *std::ranges::min_element(engine.model->file().tensors, {}, [](const Tensor& t) {
    const bool is_mlp = t.name.starts_with("blk.0.ffn_") && t.shape.size() > 1 && t.name.find("inp") == t.name.npos;
    return is_mlp ? t.data.data() : t.data.data() + (size_t{1} << 40);
  });
  const auto at = uint64_t(first.data.data() - engine.model->file().maps[0].data());
  fs::resize_file(path_, at + 100);
  try {
    context.decode(std::span(ids).subspan(3, 1));
    FAIL() << "of " << size << " bytes " << at + 100 << " are left";
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), ErrorKind::kIo);
    EXPECT_NE(std::string(e.what()).find("has it become shorter?"), std::string::npos) << e.what();
  }
  // And one that was too short from the beginning.
  try {
    on_demand(0.75);
    FAIL();
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), ErrorKind::kFormat);
  }
}

TEST_P(LargerThanMemory, SaysWhatItTakes) {
  const auto refusal = [&](double share) {
    try {
      answer(on_demand(share), "dense");
    } catch (const Error& e) {
      return std::string(e.what());
    }
    return std::string();
  };
  EXPECT_NE(refusal(-0.5).find("(ram)"), std::string::npos);
  EXPECT_NE(refusal(0.01).find("at least"), std::string::npos);
  EXPECT_EQ(refusal(1.5), "");
  EXPECT_FALSE(on_demand(1.5).model->weights().disk);  // all of it fits
}

TEST_P(LargerThanMemory, BundlesOfAnotherModelAreRefused) {
  if (!chooses_) {
    EXPECT_THROW(write_bundles(bundles_path(path_), open_gguf(path_)), Error);
    return;
  }
  write_bundles(bundles_path(path_), open_gguf(path_));
  SynthOptions other = options_;
  other.seed += 1;
  Compute compute(2);
  write_synth(path_, other, compute);
  const auto refusal = [&] {
    try {
      on_demand(0.75);
    } catch (const Error& e) {
      EXPECT_EQ(e.kind(), ErrorKind::kFormat);
      return std::string(e.what());
    }
    return std::string();
  };
  EXPECT_NE(refusal().find("another model"), std::string::npos);
  fs::copy_file(path_, bundles_path(path_), fs::copy_options::overwrite_existing);
  EXPECT_NE(refusal().find("no file of bundles"), std::string::npos);
}

INSTANTIATE_TEST_SUITE_P(Models, LargerThanMemory, testing::ValuesIn(kCases),
                         [](const auto& info) { return std::string(info.param.name); });

}  // namespace
}  // namespace hunch
