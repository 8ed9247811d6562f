// Every plan in every shape of step, on several models and formats: each run gets what it gets alone. One token by
// itself is what the other tests compare with the definitions.
#include <gtest/gtest.h>

#include <deque>
#include <functional>
#include <map>
#include <random>

#include "formats/format.h"
#include "io/int8_tensor.h"
#include "io/low_rank_names.h"
#include "io/test_sparse_tensors.h"
#include "linear/transpose.h"
#include "model/open_model.h"
#include "model/test_settings.h"
#include "model/test_steps.h"
#include "select/expert_policies.h"
#include "select/expert_predictors.h"
#include "select/selectors.h"

namespace hunch {
namespace {

// Scores that depend on the token's input and on nothing else; coarse, so that rounding does not change them.
class OfInput : public Predictor {
 public:
  OfInput(size_t n_in, size_t n_out, uint32_t salt) : n_in_(n_in), n_out_(n_out), salt_(salt) {}
  void score(Compute&, MatView<const float> X, MatView<float> scores) const override {
    for (size_t t = 0; t < X.rows; ++t) {
      const long hash =
          std::lround(X.row(t)[salt_ % n_in_] * 2) * 7 + std::lround(X.row(t)[(salt_ + 5) % n_in_] * 2) * 13 + salt_;
      // Sometimes everything.
      for (size_t k = 0; k < n_out_; ++k)
        scores.row(t)[k] = unsigned(hash) % 5 == 0 ? 9.0f : float((unsigned(hash) + k * 5) % 7);
    }
  }
  std::string_view kind() const override { return "of input"; }
  size_t n_in() const override { return n_in_; }
  size_t n_out() const override { return n_out_; }
  size_t bytes() const override { return 0; }

 private:
  size_t n_in_, n_out_;
  uint32_t salt_;
};

// The plans of a model, by name.
class Plans {
 public:
  explicit Plans(const ModelConfig& c) : c_(c) {
    add(
        "dense", [](Plan&) {}, Plan());
    add("exact", [](Plan&) {});
    add("predicted neurons", [&](Plan& p) { predict_neurons(p, Look::kHere); });
    add("predicted ahead", [&](Plan& p) {
      predict_neurons(p, Look::kAttention);
      predict_heads(p, true);
    });
    add("predicted heads", [&](Plan& p) { predict_heads(p, false); });
    add("lazy heads", [&](Plan& p) {
      predict_heads(p, true);
      p.lazy_keys = true;
    });
    const auto method = [&](Plan& p, Setting point) {
      for (size_t l = 0; l < c.n_layer; ++l) point.set(p, l);
    };
    const Setting cats{.kind = "cats", .threshold = 0.02f};
    const Setting teal{.kind = "teal", .inputs = {0.4f, 0.03f, 0.5f, 0.02f}};
    const Setting griffin{.kind = "griffin", .density = 0.3f};
    add("CATS", [&](Plan& p) { method(p, cats); });
    add("TEAL", [&](Plan& p) { method(p, teal); });
    add("GRIFFIN", [&](Plan& p) { method(p, griffin); });
    add("TEAL with chosen heads", [&](Plan& p) {
      method(p, teal);
      predict_heads(p, false);
    });
    add("CATS of predicted neurons", [&](Plan& p) {
      method(p, cats);
      predict_neurons(p, Look::kHere);
    });
    add("GRIFFIN with lazy heads", [&](Plan& p) {
      method(p, griffin);
      predict_heads(p, true);
      p.lazy_keys = true;
    });
    if (c.moe.n_expert > 0)
      add("CATS of one expert", [&](Plan& p) {
        method(p, cats);
        p.set_experts(c, expert_policy_from("top:1"));
      });
  }
  const std::vector<std::shared_ptr<const Plan>>& all() const { return plans_; }

 private:
  void add(const char* name, const std::function<void(Plan&)>& fill) { add(name, fill, Plan::exact(c_)); }
  void add(const char* name, const std::function<void(Plan&)>& fill, Plan plan) {
    fill(plan);
    plan.name = name;
    plans_.push_back(std::make_shared<const Plan>(std::move(plan)));
  }
  std::shared_ptr<const Selector> predicted(size_t n_out, size_t layer) {
    const auto salt = uint32_t(predictors_.size() + layer);
    return std::make_shared<const Predicted>(predictors_.emplace_back(c_.n_embd, n_out, salt), 2.5f);
  }
  void predict_neurons(Plan& p, Look look) {
    for (size_t l = 0; l < c_.n_layer; ++l)
      if (!c_.layers[l].has_experts()) {
        p.set(l, Point::kNeurons, {predicted(c_.n_ff, l), look});
      } else {  // of experts only where it is known who they are; one has no predictor
        const MoeConfig& moe = c_.layers[l].moe;
        std::vector<std::shared_ptr<const Predictor>> experts(moe.n_expert);
        for (size_t e = 1; e < moe.n_expert; ++e)
          experts[e] = std::make_shared<const OfInput>(c_.n_embd, moe.n_ff, uint32_t(7 * l + e));
        const auto all = std::make_shared<const ExpertPredictors>(std::move(experts));
        p.set(l, Point::kNeurons, {std::make_shared<const Predicted>(*all, 2.5f), Look::kHere});
        p.owners.push_back(all);
      }
  }
  void predict_heads(Plan& p, bool ahead) {
    for (size_t l = 0; l < c_.n_layer; ++l)
      p.set(l, Point::kHeads, {predicted(c_.n_kv_head, l), ahead && l ? Look::kPreviousAttention : Look::kHere});
  }

  const ModelConfig& c_;
  std::deque<OfInput> predictors_;
  std::vector<std::shared_ptr<const Plan>> plans_;
};

struct Form {
  const char* name;
  const char* fixture;
  DType dtype = DType::kF32;
  bool relu = false;        // instead of its own activation: exact zeros, also inside experts
  bool copies = false;      // of its matrices by input and by group of heads
  bool adapted = false;     // two of three texts have an adapter, each another
  bool low_rank = false;    // its matrices as products with the unit matrix
  bool sparse = false;      // a third of its weights are zeros, and left out
  bool int8 = false;        // its matrices in int8 with scales
  bool every_pair = false;  // of plans side by side; else every plan beside the next
};

// W = I W, or W I: the narrower unit. Of experts, one after the other.
void split(ModelFile& file) {
  std::vector<Tensor> tensors;
  const auto add = [&](const Tensor& like, std::string name, size_t rows, size_t cols, bool unit) {
    std::vector<uint64_t> shape(like.shape.begin(), like.shape.end() - 2);
    shape.insert(shape.end(), {rows, cols});
    Tensor t{std::move(name), like.dtype, std::move(shape), like.data};
    if (unit) {
      const auto values = std::make_shared<std::vector<float>>(t.n_elems());
      for (size_t i = 0; i < t.n_elems(); i += rows * cols)
        for (size_t k = 0; k < rows; ++k) (*values)[i + k * cols + k] = 1;
      t.dtype = DType::kF32;
      t.data = std::as_bytes(std::span(*values));
      file.owners.push_back(values);
    }
    tensors.push_back(std::move(t));
  };
  for (const Tensor& t : file.tensors) {
    constexpr std::string_view kEnd = ".weight";
    const bool splits = t.name.starts_with("blk.") && t.name.ends_with(kEnd) && t.shape.size() >= 2 &&
                        t.name.find("gate_inp") == t.name.npos && t.name.find("norm") == t.name.npos;
    if (!splits) {
      tensors.push_back(t);
      continue;
    }
    const std::string name = t.name.substr(0, t.name.size() - kEnd.size());
    const size_t n_in = t.cols(), n_out = t.shape[t.shape.size() - 2], rank = std::min(n_in, n_out);
    add(t, low_rank_u(name), n_out, rank, n_out <= n_in);
    add(t, low_rank_v(name), rank, n_in, n_out > n_in);
  }
  file.tensors = std::move(tensors);
  file.index();
}

bool is_left_sparse(const Tensor& t) {
  return t.name.starts_with("blk.") && t.name.ends_with(".weight") && has_sparse_rows(t.dtype) && t.shape.size() >= 2 &&
         t.cols() % 32 == 0;
}

// Matrices as codes of int8 with a scale for each row.
void round_to_int8(ModelFile& file) {
  std::vector<Tensor> tensors;
  for (Tensor& t : file.tensors) {
    const bool is_matrix = t.name.starts_with("blk.") && t.name.ends_with(".weight") && t.shape.size() >= 2 &&
                           t.dtype == DType::kF32 && t.name.find("gate_inp") == t.name.npos &&
                           t.name.find("norm") == t.name.npos;
    if (is_matrix) {
      std::vector<float> values(t.n_elems());
      codec(t.dtype).decode(t.data.data(), values.data(), values.size());
      const auto codes = std::make_shared<std::vector<int8_t>>(values.size());
      const auto scales = std::make_shared<std::vector<float>>(t.rows());
      for (size_t r = 0; r < t.rows(); ++r) {
        const std::span<const float> row = std::span(values).subspan(r * t.cols(), t.cols());
        for (const float v : row) (*scales)[r] = std::max((*scales)[r], std::abs(v) / 127);
        for (size_t c = 0; c < t.cols(); ++c)
          (*codes)[r * t.cols() + c] = int8_t(std::lround(row[c] / std::max((*scales)[r], 1e-30f)));
      }
      std::vector<uint64_t> shape(t.shape.begin(), t.shape.end() - 1);
      tensors.push_back({int8_scale(without_weight(t.name)), DType::kF32, shape, std::as_bytes(std::span(*scales))});
      t.dtype = DType::kI8;
      t.data = std::as_bytes(std::span(*codes));
      file.owners.push_back(codes);
      file.owners.push_back(scales);
    }
    tensors.push_back(t);
  }
  file.tensors = std::move(tensors);
  file.index();
}

// The fixture's weights, in the form's format.
ModelFile file_of(const Form& form) {
  ModelFile file = open_model(golden_fixture(form.fixture)).file;
  if (form.relu) file.meta.set(file.meta.get_string("general.architecture") + ".activation", std::string("relu"));
  if (form.low_rank) split(file);
  if (form.int8) round_to_int8(file);
  if (form.dtype == DType::kF32) return file;
  for (Tensor& t : file.tensors) {
    if (t.shape.size() < 2 || t.dtype != DType::kF32 || t.cols() % info(form.dtype).block_elems ||
        t.name.find("position") != t.name.npos || t.name.find("gate_inp") != t.name.npos)
      continue;
    std::vector<float> values(t.n_elems());
    codec(t.dtype).decode(t.data.data(), values.data(), values.size());
    for (size_t i = 0; form.sparse && i < values.size(); i += 1 + i % 4) values[i] = 0;
    const auto bytes = std::make_shared<std::vector<std::byte>>(t.rows() * row_bytes(form.dtype, t.cols()));
    codec(form.dtype).encode(values.data(), bytes->data(), values.size());
    t.dtype = form.dtype;
    t.data = *bytes;
    file.owners.push_back(bytes);
  }
  file.index();
  if (form.sparse) {
    leave_zeros_out(file, is_left_sparse);
    EXPECT_TRUE(has_sparse(file, "blk.0.attn_output"));
  }
  return file;
}

class PlanMatrix : public ::testing::TestWithParam<Form> {
 protected:
  static constexpr size_t kSteps = 3;
  // As in the tests of batches: sums of f32 in another order, several layers deep.
  static constexpr float kTolerance = 3e-5f;

  PlanMatrix() {
    if (GetParam().adapted)
      for (const uint32_t seed : {1, 2}) {
        adapters_.push_back(random_adapter(model_, seed));
        model_.adapt(*adapters_.back());
      }
    if (!GetParam().copies) return;
    store_all_by_input(model_, compute_);
    if (can_choose_heads(c_)) store_heads_by_group(model_, compute_);
  }

  // A prompt that teaches GRIFFIN, then kSteps tokens; another text for every number.
  std::vector<int32_t> ids_of(size_t s) const {
    std::mt19937 rng{uint32_t(s)};
    std::vector<int32_t> ids(17 + s + kSteps);
    for (int32_t& id : ids) id = int32_t(rng() % c_.n_vocab);
    return ids;
  }

  // A sequence in the course of its answer.
  struct Life {
    std::shared_ptr<const Plan> plan;
    std::vector<int32_t> ids;
    KvCache::SequenceId sequence;
    std::unique_ptr<SelectorStates> states = std::make_unique<SelectorStates>();
    size_t at = 0;
    bool as_alone = false;
    const Adapter* adapter = nullptr;
    std::vector<float> logits = {};  // of the tokens behind the prompt

    hunch::Run next(size_t n, Phase phase) const {
      hunch::Run r{sequence, n, phase, plan.get(), as_alone && phase != Phase::kPrompt};
      r.adapter = adapter;
      r.states = states.get();
      r.watching = {&plan, 1};
      return r;
    }
  };
  // Before its prompt.
  Life life(const std::shared_ptr<const Plan>& plan, size_t text, bool as_alone = false) {
    const Adapter* adapter = text % 3 < adapters_.size() ? adapters_[text % 3].get() : nullptr;
    return {plan, ids_of(text), cache_.create(), std::make_unique<SelectorStates>(), 0, as_alone, adapter};
  }
  // One step of n tokens for each of them.
  void step(std::vector<Life*> lives, const std::vector<std::pair<size_t, Phase>>& parts) {
    std::vector<int32_t> ids;
    std::vector<hunch::Run> runs;
    for (size_t i = 0; i < lives.size(); ++i) {
      const std::span<const int32_t> next = std::span(lives[i]->ids).subspan(lives[i]->at, parts[i].first);
      ids.insert(ids.end(), next.begin(), next.end());
      runs.push_back(lives[i]->next(parts[i].first, parts[i].second));
      lives[i]->at += parts[i].first;
    }
    const std::vector<uint32_t> rows = rows_up_to(ids.size());
    const MatView<const float> logits = transformer_.run({ids, runs, rows});
    for (size_t i = 0, row = 0; i < lives.size(); row += parts[i].first, ++i)
      if (parts[i].second != Phase::kPrompt)
        append_rows(logits.row_range(row, parts[i].first), lives[i]->logits);
      else  // its last token says whether the prompt was computed rightly
        append_rows(logits.row_range(row + parts[i].first - 1, 1), lives[i]->logits);
  }
  void prompt(Life& l) { step({&l}, {{l.ids.size() - kSteps, Phase::kPrompt}}); }
  void end(Life& l) { cache_.release(l.sequence); }

  // Token by token, by itself: the last of the prompt, then kSteps tokens.
  const std::vector<float>& alone(const std::shared_ptr<const Plan>& plan, size_t text) {
    std::vector<float>& logits = alone_[{plan.get(), text}];
    if (!logits.empty()) return logits;
    Life l = life(plan, text);
    prompt(l);
    for (size_t i = 0; i < kSteps; ++i) step({&l}, {{1, Phase::kDecode}});
    end(l);
    return logits = l.logits;
  }
  void expect_near(const Life& l, size_t text) {
    EXPECT_LE(worst_difference(l.logits, alone(l.plan, text)), kTolerance) << l.plan->name << ", text " << text;
  }
  void expect_bits(const Life& l, size_t text) {
    EXPECT_EQ(worst_difference(l.logits, alone(l.plan, text)), 0.0f) << l.plan->name << ", text " << text;
  }
  // each(a, b): which plans are tried side by side.
  template <class Each>
  void for_pairs(const Each& each) const {
    const auto& all = plans_.all();
    for (size_t a = 0; a < all.size(); ++a)
      for (size_t b = 0; b < all.size(); ++b)
        if (a != b && (GetParam().every_pair || b == (a + 1) % all.size())) {
          SCOPED_TRACE(all[a]->name + " beside " + all[b]->name);
          each(all[a], all[b]);
        }
  }
  // Quantised inputs move a little with the order of sums, and thresholds then decide otherwise.
  bool is_exact() const { return is_plain(GetParam().dtype) && !GetParam().int8; }

  Compute compute_{2};
  Model model_{file_of(GetParam()), {}, compute_};
  const ModelConfig& c_ = model_.config();
  KvCache cache_{Transformer::kv_shape(c_, DType::kF32, 8), 4096};
  Transformer transformer_{model_, cache_, compute_};
  const Plans plans_{c_};
  std::vector<std::unique_ptr<Adapter>> adapters_;
  std::map<std::pair<const Plan*, size_t>, std::vector<float>> alone_;
};

// The table is not one of equals: every plan but the exact one changes what is computed.
TEST_P(PlanMatrix, PlansDiffer) {
  const auto dense = plans_.all()[0];
  for (const auto& plan : plans_.all()) {
    const bool nothing_to_do = plan->name == "dense" || plan->name == "exact" ||
                               (plan->name == "CATS" && GetParam().int8);  // leaves out what rounds to 0
    const float difference = worst_difference(alone(plan, 0), alone(dense, 0));
    if (nothing_to_do && !is_exact()) continue;
    if (nothing_to_do) {
      EXPECT_LE(difference, kTolerance) << plan->name;
    } else {
      EXPECT_GT(difference, kTolerance) << plan->name;
    }
  }
}

TEST_P(PlanMatrix, AdaptersDiffer) {
  if (adapters_.empty()) GTEST_SKIP() << "a model as it is";
  const auto logits = [&](const Adapter* adapter) {
    Life l = life(plans_.all()[0], 0);
    l.adapter = adapter;
    prompt(l);
    end(l);
    return l.logits;
  };
  const std::vector<float> none = logits(nullptr), first = logits(adapters_[0].get()),
                           second = logits(adapters_[1].get());
  EXPECT_GT(worst_difference(first, none), 0.05f);
  EXPECT_GT(worst_difference(second, none), 0.05f);
  EXPECT_GT(worst_difference(second, first), 0.05f);
}

TEST_P(PlanMatrix, SeveralTokensOfARun) {
  if (!is_exact()) GTEST_SKIP() << "near its thresholds a quantised model decides by the order of sums";
  for (const auto& plan : plans_.all()) {
    Life l = life(plan, 0);
    prompt(l);
    step({&l}, {{kSteps, Phase::kDecode}});
    expect_near(l, 0);
    end(l);
  }
}

TEST_P(PlanMatrix, TokensAsAlone) {
  for (const auto& plan : plans_.all()) {
    Life l = life(plan, 0, true);
    prompt(l);
    step({&l}, {{kSteps, Phase::kVerify}});
    expect_bits(l, 0);
    end(l);
  }
}

TEST_P(PlanMatrix, FiveSequences) {
  if (!is_exact()) GTEST_SKIP() << "near its thresholds a quantised model decides by the order of sums";
  for (const auto& plan : plans_.all()) {
    std::deque<Life> lives;
    std::vector<Life*> batch;
    for (size_t s = 0; s < 5; ++s) {
      prompt(lives.emplace_back(life(plan, s)));
      batch.push_back(&lives.back());
    }
    for (size_t i = 0; i < kSteps; ++i) step(batch, std::vector<std::pair<size_t, Phase>>(5, {1, Phase::kDecode}));
    for (size_t s = 0; s < 5; ++s) expect_near(lives[s], s), end(lives[s]);
  }
}

// A prompt is read while two others decode, each by a plan of its own; then all three decode.
TEST_P(PlanMatrix, APromptBesideDecodingByOtherPlans) {
  if (!is_exact()) GTEST_SKIP() << "near its thresholds a quantised model decides by the order of sums";
  for_pairs([&](const auto& a, const auto& b) {
    Life first = life(a, 0), second = life(b, 1), third = life(a, 2);
    prompt(first);
    prompt(second);
    step({&first, &third, &second},
         {{1, Phase::kDecode}, {third.ids.size() - kSteps, Phase::kPrompt}, {1, Phase::kDecode}});
    step({&third, &second, &first}, {{1, Phase::kDecode}, {1, Phase::kDecode}, {1, Phase::kDecode}});
    step({&first, &second, &third}, {{1, Phase::kDecode}, {1, Phase::kDecode}, {2, Phase::kDecode}});
    expect_near(first, 0);
    expect_near(second, 1);
    expect_near(third, 2);
    for (Life* l : {&first, &second, &third}) end(*l);
  });
}

// The bits of a token as alone do not depend on what the others in its step want, as alone or not.
TEST_P(PlanMatrix, AsAloneBesideOtherPlans) {
  for_pairs([&](const auto& a, const auto& b) {
    Life first = life(a, 0, true), second = life(b, 1, true), other = life(b, 2);
    for (Life* l : {&first, &second, &other}) prompt(*l);
    step({&first, &second}, {{2, Phase::kVerify}, {1, Phase::kVerify}});
    step({&other, &first, &second}, {{kSteps, Phase::kDecode}, {1, Phase::kVerify}, {2, Phase::kVerify}});
    expect_bits(first, 0);
    expect_bits(second, 1);
    if (is_exact()) expect_near(other, 2);
    for (Life* l : {&first, &second, &other}) end(*l);
  });
}

constexpr Form kForms[] = {
    {.name = "opt", .fixture = "opt_sparse"},
    {.name = "opt_with_copies", .fixture = "opt_sparse", .copies = true, .every_pair = true},
    {.name = "opt_f16", .fixture = "opt_sparse", .dtype = DType::kF16},
    {.name = "opt_q8_0", .fixture = "opt_sparse", .dtype = DType::kQ8_0},
    {.name = "llama", .fixture = "llama_mha"},
    {.name = "llama_with_copies", .fixture = "llama_mha", .copies = true},
    {.name = "llama_relu", .fixture = "llama_mha", .relu = true, .copies = true},
    {.name = "llama_q8_0", .fixture = "llama_mha", .dtype = DType::kQ8_0, .copies = true, .every_pair = true},
    {.name = "experts", .fixture = "qwen2_moe"},
    {.name = "experts_with_copies", .fixture = "qwen2_moe", .copies = true, .every_pair = true},
    {.name = "experts_relu_f16", .fixture = "qwen2_moe", .dtype = DType::kF16, .relu = true, .copies = true},
    {.name = "opt_adapted", .fixture = "opt_sparse", .copies = true, .adapted = true},
    {.name = "llama_adapted", .fixture = "llama_mha", .adapted = true},
    {.name = "llama_adapted_q8_0", .fixture = "llama_mha", .dtype = DType::kQ8_0, .copies = true, .adapted = true},
    {.name = "experts_adapted", .fixture = "qwen2_moe", .relu = true, .copies = true, .adapted = true},
    {.name = "opt_sparse_f16", .fixture = "opt_sparse", .dtype = DType::kF16, .sparse = true},
    {.name = "llama_sparse_f16", .fixture = "llama_mha", .dtype = DType::kF16, .copies = true, .sparse = true},
    {.name = "llama_sparse_q8_0_adapted",
     .fixture = "llama_mha",
     .dtype = DType::kQ8_0,
     .adapted = true,
     .sparse = true},
    {.name = "llama_sparse_relu_q4_0", .fixture = "llama_mha", .dtype = DType::kQ4_0, .relu = true, .sparse = true},
    {.name = "experts_sparse_f16", .fixture = "qwen2_moe", .dtype = DType::kF16, .relu = true, .sparse = true},
    {.name = "opt_low_rank", .fixture = "opt_sparse", .low_rank = true},
    {.name = "llama_low_rank_with_copies", .fixture = "llama_mha", .copies = true, .low_rank = true},
    {.name = "llama_low_rank_adapted", .fixture = "llama_mha", .adapted = true, .low_rank = true, .every_pair = true},
    {.name = "experts_low_rank_relu", .fixture = "qwen2_moe", .relu = true, .low_rank = true},
    {.name = "opt_int8", .fixture = "opt_sparse", .int8 = true, .every_pair = true},
    {.name = "llama_int8", .fixture = "llama_mha", .copies = true, .int8 = true},
    {.name = "llama_int8_adapted", .fixture = "llama_mha", .adapted = true, .int8 = true},
    {.name = "experts_int8", .fixture = "qwen2_moe", .relu = true, .int8 = true},
};

INSTANTIATE_TEST_SUITE_P(Forms, PlanMatrix, ::testing::ValuesIn(kForms),
                         [](const auto& i) { return std::string(i.param.name); });

}  // namespace
}  // namespace hunch
