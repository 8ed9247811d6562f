// That the words of StateStore fit more than keys and values: the same random histories for KvCache and for the state
// of a recurrence, each told by nothing else.
#include "state/state_store.h"

#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <random>

#include "base/error.h"
#include "state/kv_cache.h"
#include "state/recurrent_states.h"

namespace hunch {
namespace {

// h' = h / 2 + x, in two layers, of which the second is fed twice as much.
struct Recurrent {
  RecurrentStates store{{{1, 1}, {}, {1, 1}}};
  void step(StateStore::SequenceId id, std::span<const float> x) {
    for (const size_t layer : {0, 2}) {
      const auto advance = [](MatView<const float> inputs, std::span<float> state) {
        for (size_t t = 0; t < inputs.rows; ++t) state[0] = state[0] / 2 + inputs.row(t)[0];
      };
      std::vector<float> fed(x.begin(), x.end());
      for (float& v : fed) v *= layer ? 2 : 1;
      const MatView<const float> inputs(fed.data(), fed.size(), 1);
      const auto turn = store.begin(id, layer, x.size(), advance);
      for (size_t t = 0; t < turn.inputs.rows; ++t) turn.inputs.row(t)[0] = fed[t];
      advance(inputs, turn.state);
      store.end(id, layer);
    }
  }
  void check(StateStore::SequenceId id, const std::vector<float>& want) {
    float h = 0;
    for (const float v : want) h = h / 2 + v;
    for (const size_t layer : {0, 2}) {
      const auto turn = store.begin(id, layer, 0, [](MatView<const float> inputs, std::span<float> state) {
        for (size_t t = 0; t < inputs.rows; ++t) state[0] = state[0] / 2 + inputs.row(t)[0];
      });
      ASSERT_EQ(turn.state[0], layer ? 2 * h : h);
      store.end(id, layer);
    }
  }
};

struct Keys {
  KvCache store{{{{2, 3}}, DType::kF32, 4}, 400};
  void step(KvCache::SequenceId id, std::span<const float> x) {
    for (size_t i = 0; i < x.size(); ++i) {
      const std::vector<float> row(6, x[i]);
      store.store(id, 0, store.n_tokens(id) - x.size() + i, {row.data(), 1, 6}, {row.data(), 1, 6});
    }
  }
  void check(KvCache::SequenceId id, const std::vector<float>& want) const {
    const KvView view = store.view(id, 0);
    for (size_t t = 0; t < want.size(); ++t)
      ASSERT_EQ(reinterpret_cast<const float*>(view.pages[t / 4])[t % 4 * 3], want[t]);
  }
};

template <class Kind>
class StateStoreTest : public ::testing::Test {};
using Kinds = ::testing::Types<Keys, Recurrent>;
TYPED_TEST_SUITE(StateStoreTest, Kinds);

// Steps as decoding makes them: tokens, drafts of which some are taken back, copies, and beginning anew.
TYPED_TEST(StateStoreTest, RemembersWhatWasNotTakenBack) {
  TypeParam kind;
  StateStore& store = kind.store;
  std::map<StateStore::SequenceId, std::vector<float>> texts;
  std::mt19937 rng(3);
  const auto extend = [&](StateStore::SequenceId id, size_t n) {
    std::vector<float>& text = texts[id];
    const size_t n_before = text.size();
    store.append(id, n);
    for (size_t i = 0; i < n; ++i) {
      text.push_back(float(rng() % 100));
    }
    kind.step(id, std::span(text).subspan(n_before));
  };
  for (size_t step = 0; step < 600 && !this->HasFatalFailure(); ++step) {
    const size_t action = texts.empty() ? 0 : rng() % 8;
    if (action == 0) {
      if (texts.size() < 4) texts[store.create()];
      continue;
    }
    const auto id = std::next(texts.begin(), long(rng() % texts.size()))->first;
    if (action == 1 && texts.size() < 4) {
      const auto copy = store.fork(id);
      texts[copy] = texts[id];
    } else if (action == 2) {
      store.release(id);
      texts.erase(id);
      continue;
    } else if (action == 3 || texts[id].size() > 40) {
      store.truncate(id, 0);
      texts[id].clear();
    } else if (action == 4) {  // a draft
      const size_t n_before = texts[id].size(), n_accepted = rng() % 4;
      store.commit(id);
      extend(id, 3);
      store.truncate(id, n_before + n_accepted);
      texts[id].resize(n_before + n_accepted);
      store.commit(id);
    } else {
      extend(id, 1 + rng() % 5);
      store.commit(id);
    }
    EXPECT_EQ(store.n_tokens(id), texts[id].size());
    EXPECT_EQ(store.back_to(id, texts[id].size()), texts[id].size());
    for (const auto& [each, want] : texts)
      if (!want.empty()) kind.check(each, want);
  }
}

// What can be taken back: the last tokens one by one, a long step as a whole, and what a checkpoint remembers.
TEST(RecurrentStates, GoesBackAsFarAsItSays) {
  Recurrent r;
  const auto id = r.store.create();
  std::vector<float> text;
  const auto extend = [&](size_t n) {
    const size_t n_before = text.size();
    for (size_t i = 0; i < n; ++i) text.push_back(float(text.size() % 7));
    r.store.append(id, n);
    r.step(id, std::span(text).subspan(n_before));
  };
  extend(100);
  EXPECT_EQ(r.store.back_to(id, 99), 0u);
  r.store.checkpoint(id);
  extend(100);
  EXPECT_EQ(r.store.back_to(id, 199), 100u);
  for (size_t i = 0; i < 200; ++i) {
    extend(1);
    const size_t least = 200 + i + 1 - std::min(i + 1, RecurrentStates::kKept);
    EXPECT_EQ(r.store.back_to(id, least), least);
  }
  EXPECT_EQ(r.store.back_to(id, 250), 100u);
  r.store.truncate(id, 390);
  text.resize(390);
  r.check(id, text);
  r.store.truncate(id, 100);
  text.resize(100);
  r.check(id, text);
  extend(3);
  r.check(id, text);
}

// A step that fails in the middle, perhaps in some layers only, leaves what was before it.
TEST(RecurrentStates, SurvivesAStepThatFails) {
  for (const size_t n : {size_t{1}, size_t{20}, size_t{50}}) {
    Recurrent r;
    const auto id = r.store.create();
    std::vector<float> text = {3, 1, 4, 1, 5};
    r.store.append(id, text.size());
    r.step(id, text);
    for (int times = 0; times < 3; ++times) {
      r.store.append(id, n);
      const auto turn = r.store.begin(id, 0, n, [](MatView<const float>, std::span<float>) { FAIL(); });
      turn.state[0] = 1e9f;
      if (times == 1) r.store.end(id, 0);
      r.store.truncate(id, text.size());
      r.check(id, text);
    }
  }
}

}  // namespace
}  // namespace hunch
