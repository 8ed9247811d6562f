// For tests: texts to which all happens that may happen to a text, in two worlds at once.
#pragma once
#include <gtest/gtest.h>

#include <memory>
#include <random>
#include <vector>

#include "engine/context.h"

namespace hunch {

inline std::vector<int32_t> some_ids(const Engine& engine, size_t n, uint32_t seed) {
  std::mt19937 rng(seed);
  std::vector<int32_t> ids(n);
  for (int32_t& id : ids) id = int32_t(rng() % engine.config().n_vocab);
  return ids;
}

// A batch of texts that all have the same plan.
struct World {
  World(const Engine& engine, size_t n_ctx, std::shared_ptr<const KeySelector> keys, KvType type)
      : batch(engine, {2000, type, 4}), own_type(type) {
    ContextOptions options;
    options.n_ctx = n_ctx;
    options.keys = std::move(keys);
    own = sequence_options(engine, options);
    texts.push_back(batch.new_sequence(own));
  }
  MatView<const float> compute(size_t text, std::span<const int32_t> ids, Phase phase) {
    const SequenceRun run{texts[text].get(), ids, phase, ids.size(), phase != Phase::kPrompt};
    return batch.compute({&run, 1});
  }
  SequenceOptions own;
  Batch batch;
  KvType own_type;
  std::vector<std::unique_ptr<Sequence>> texts;
};

// Prompts, tokens one by one and several that are verified, some of which are taken back; texts that go back, that
// branch, that are saved and restored, or read anew (a pause), all of them at random: logits of `got` are those of
// `want`. Prompts have up to `longest` tokens.
inline void compare_texts(const Engine& engine, World& got, World& want, size_t n_ctx, float tolerance,
                          size_t longest = 40) {
  std::mt19937 rng(9);
  longest = std::min(longest, n_ctx / 3);
  const bool recurrent = got.batch.cache()->is_recurrent();
  for (size_t step = 0; step < 100; ++step) {
    const size_t text = rng() % got.texts.size(), n = got.texts[text]->n_tokens(), kind = rng() % 8;
    SCOPED_TRACE(fmt::format("step {}, kind {}, text {} of {} tokens", step, kind, text, n));
    const auto both = [&](const auto& with) { with(got), with(want); };
    if (kind == 0 && n > 0 && got.texts.size() < 4) {
      const size_t n_shared = recurrent ? n : n - rng() % std::min<size_t>(n, 10);
      both([&](World& w) { w.texts.push_back(w.texts[text]->fork(n_shared)); });
    } else if (kind == 1 && n > 0) {
      const size_t back = rng() % std::min<size_t>(n, std::max<size_t>(30, longest));
      size_t left[2];
      left[0] = got.texts[text]->go_back(n - back), left[1] = want.texts[text]->go_back(n - back);
      ASSERT_EQ(left[0], left[1]);
    } else if (kind == 2 && n > 0) {
      both([&](World& w) {
        const std::vector<int32_t> ids(w.texts[text]->ids().begin(), w.texts[text]->ids().end());
        // Else it is read anew, as after a pause.
        const bool is_saved = !recurrent && !w.own_type.grouped() && step % 2;
        const std::vector<std::byte> keys =
            is_saved ? w.texts[text]->cache().save(w.texts[text]->id(), n) : std::vector<std::byte>();
        w.texts[text]->truncate(0);
        is_saved ? w.texts[text]->restore(ids, keys) : void(w.compute(text, ids, Phase::kPrompt));
      });
    } else if (n + longest > n_ctx) {
      both([&](World& w) { w.texts[text]->truncate(0); });
    } else {
      const Phase phase = n == 0 || kind == 3 ? Phase::kPrompt : kind < 6 ? Phase::kDecode : Phase::kVerify;
      const size_t most = phase == Phase::kPrompt ? longest : phase == Phase::kDecode ? 3 : recurrent ? 4 : 9;
      const std::vector<int32_t> ids = some_ids(engine, 1 + rng() % most, uint32_t(step));
      const MatView<const float> logits = got.compute(text, ids, phase), right = want.compute(text, ids, phase);
      for (size_t r = 0; r < logits.rows; ++r)
        for (size_t i = 0; i < logits.cols; ++i) ASSERT_NEAR(logits.row(r)[i], right.row(r)[i], tolerance) << r;
      if (phase == Phase::kVerify) {
        const size_t n_kept = n + 1 + rng() % ids.size();
        both([&](World& w) { w.texts[text]->truncate(n_kept); });
      }
    }
  }
}

inline float most_off(std::span<const float> a, std::span<const float> b) {
  float most = 0;
  for (size_t i = 0; i < a.size(); ++i) most = std::max(most, std::abs(a[i] - b[i]));
  return most;
}

// The last token's logits of a text of which parts are read, decoded, verified and taken back, and of its branches,
// against those of the same text, read anew: what is remembered of it does not depend on how it came to be. The
// context is of 400 tokens: texts have up to 130, and their branches lie beside them.
inline void compare_with_anew(const Engine& engine, const ContextOptions& options, float tolerance) {
  Context text(engine, options);
  std::mt19937 rng(5);
  std::vector<int32_t> ids;
  const auto expect_anew = [&](std::span<const float> got) {
    Context anew(engine, options);
    ASSERT_LT(most_off(got, anew.append(ids)), tolerance) << ids.size() << " tokens";
  };
  for (size_t step = 0; step < 40; ++step) {
    SCOPED_TRACE(step);
    const size_t kind = rng() % 4;
    if (kind == 0 || ids.size() > 100) {
      ids.resize(ids.size() > 100 ? 20 : ids.size() - rng() % std::min<size_t>(ids.size() + 1, 12));
      text.truncate(ids.size());
    }
    const std::vector<int32_t> more = some_ids(engine, kind == 1 ? 25 : 1 + rng() % 4, uint32_t(step));
    ids.insert(ids.end(), more.begin(), more.end());
    if (kind == 1) {
      expect_anew(text.append(more));
    } else if (kind == 2) {
      expect_anew(text.verify(more).row(more.size() - 1));
    } else {
      for (size_t i = 0; i + 1 < more.size(); ++i) text.decode(std::span(more).subspan(i, 1));
      expect_anew(text.decode(std::span(more).last(1)));
    }
    if (step % 8 == 7 && ids.size() > 10 &&
        !text.sequence().cache().is_recurrent()) {  // a branch, and what was saved of it
      const size_t n = ids.size() - 3;
      const auto branch = text.sequence().fork(n), saved = text.sequence().fork(0);
      saved->restore(std::span(ids).first(n), branch->cache().save(branch->id(), n));
      for (Sequence* other : {branch.get(), saved.get()}) {
        const SequenceRun run{other, std::span<const int32_t>(ids).subspan(n), Phase::kPrompt, 1};
        expect_anew(text.batch().compute({&run, 1}).row(0));
      }
    }
  }
}

}  // namespace hunch
