// A pass over several tokens "as alone" against one pass per token: equal bits, on every architecture there is.
#include <gtest/gtest.h>

#include "model/golden_data.h"
#include "model/open_model.h"
#include "model/test_steps.h"

namespace hunch {
namespace {
namespace fs = std::filesystem;

std::vector<fs::path> golden_models() {
  std::vector<fs::path> folders = {fs::path(HUNCH_SOURCE_DIR) / "tests" / "data" / "golden"}, models;
  if (const auto shared = shared_path("golden/models")) folders.push_back(*shared);
  for (const fs::path& folder : folders)
    for (const auto& entry : fs::directory_iterator(folder))
      if (fs::exists(entry.path() / "golden" / "golden.json")) models.push_back(entry.path());
  std::ranges::sort(models);
  return models;
}

class AlonePasses {
 public:
  AlonePasses(const Model& model, Compute& compute, const Plan* plan, DType kv)
      : cache_(Transformer::kv_shape(model.config(), kv, 8), 512), transformer_(model, cache_, compute), plan_(plan) {}
  // Logits of the last `n` ids: those before in one pass, then these in passes of `n_together`.
  std::vector<float> logits(std::span<const int32_t> ids, size_t n, size_t n_together, bool as_alone) {
    const auto sequence = cache_.create();
    const Run prompt{sequence, ids.size() - n, Phase::kPrompt, plan_};
    transformer_.run({ids.first(prompt.n_tokens), {&prompt, 1}, {}});
    std::vector<float> all;
    for (size_t at = prompt.n_tokens; at < ids.size(); at += n_together) {
      const Run run{sequence, std::min(n_together, ids.size() - at), as_alone ? Phase::kVerify : Phase::kDecode, plan_,
                    as_alone};
      const std::vector<uint32_t> rows = rows_up_to(run.n_tokens);
      append_rows(transformer_.run({ids.subspan(at, run.n_tokens), {&run, 1}, rows}), all);
    }
    cache_.release(sequence);
    return all;
  }

 private:
  KvCache cache_;
  Transformer transformer_;
  const Plan* plan_;
};

TEST(AsAlone, EveryTokenHasTheBitsOfAPassWithItAlone) {
  if (!shared_path("golden/models"))
    std::puts("no shared data: only the repository's fixtures are tested, at least one of every architecture");
  size_t n_that_need_it = 0;
  for (const fs::path& folder : golden_models()) {
    SCOPED_TRACE(folder.string());
    const GoldenData golden(folder / "golden");
    std::vector<int32_t> ids;
    for (const auto& s : golden.sequences)
      if (s.ids.size() > ids.size()) ids = s.ids;
    Compute compute(2);
    const Model model(open_model(folder).file, {}, compute);
    const size_t n = std::min<size_t>(20, ids.size() - 1);
    const Plan exact = Plan::exact(model.config());
    for (const Plan* plan : {static_cast<const Plan*>(nullptr), &exact}) {
      AlonePasses run(model, compute, plan, plan ? DType::kF32 : DType::kF16);
      const std::vector<float> one_by_one = run.logits(ids, n, 1, false);
      for (const size_t n_together : {5, 17})
        ASSERT_EQ(run.logits(ids, n, n_together, true), one_by_one)
            << n_together << " together, " << (plan ? "exact" : "dense");
      n_that_need_it += run.logits(ids, n, n, false) != one_by_one;
    }
  }
  EXPECT_GT(n_that_need_it, 0u);  // else this tests nothing: the fastest pass does differ
}

}  // namespace
}  // namespace hunch
