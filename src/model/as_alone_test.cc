// A pass over several tokens "as alone" against one pass per token: equal bits, on every architecture there is.
#include <gtest/gtest.h>

#include <cstring>

#include "base/test_paths.h"
#include "model/forward.h"
#include "model/golden_data.h"
#include "model/open_model.h"

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

class AsAlone {
 public:
  AsAlone(const Model& model, ThreadPool& pool, Mode mode, DType kv)
      : cache_(Forward::kv_shape(model.config(), kv, 8), 512), forward_(model, cache_, pool) {
    forward_.mode = mode;
  }
  // Logits of the last `n` ids: those before in one pass, then these in passes of `n_together`.
  std::vector<float> logits(std::span<const int32_t> ids, size_t n, size_t n_together, bool as_alone) {
    const auto sequence = cache_.create();
    const SequenceRun prompt{sequence, ids.size() - n};
    forward_.run({ids.first(prompt.n_tokens), {&prompt, 1}, {}, {}});
    std::vector<float> all;
    for (size_t at = prompt.n_tokens; at < ids.size(); at += n_together) {
      const SequenceRun run{sequence, std::min(n_together, ids.size() - at)};
      std::vector<uint32_t> rows(run.n_tokens);
      for (uint32_t i = 0; i < rows.size(); ++i) rows[i] = i;
      const MatView<const float> l = forward_.run({ids.subspan(at, run.n_tokens), {&run, 1}, rows, {}, as_alone});
      all.insert(all.end(), l.data, l.data + l.rows * l.cols);
    }
    cache_.release(sequence);
    return all;
  }

 private:
  KvCache cache_;
  Forward forward_;
};

TEST(ForwardAsAlone, EveryTokenHasTheBitsOfAPassWithItAlone) {
  if (!shared_path("golden/models"))
    std::puts("no shared data: only the repository's fixtures are tested, at least one of every architecture");
  size_t n_that_need_it = 0;
  for (const fs::path& folder : golden_models()) {
    SCOPED_TRACE(folder.string());
    const GoldenData golden(folder / "golden");
    std::vector<int32_t> ids;
    for (const auto& s : golden.sequences)
      if (s.ids.size() > ids.size()) ids = s.ids;
    ThreadPool pool(2);
    const Model model(open_model(folder).file, {}, pool);
    const size_t n = std::min<size_t>(20, ids.size() - 1);
    for (const Mode mode : {Mode::kDense, Mode::kExact}) {
      AsAlone run(model, pool, mode, mode == Mode::kDense ? DType::kF16 : DType::kF32);
      const std::vector<float> one_by_one = run.logits(ids, n, 1, false);
      for (const size_t n_together : {5, 17})
        ASSERT_EQ(run.logits(ids, n, n_together, true), one_by_one) << n_together << " together, mode " << int(mode);
      n_that_need_it += run.logits(ids, n, n, false) != one_by_one;
    }
  }
  EXPECT_GT(n_that_need_it, 0u);  // else this tests nothing: the fastest pass does differ
}

}  // namespace
}  // namespace hunch
