// That the words of StateStore fit more than keys and values: the same random histories for KvCache and for the state
// of a recurrence, each told by nothing else.
#include "state/state_store.h"

#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <random>

#include "base/error.h"
#include "state/kv_cache.h"

namespace hunch {
namespace {

// h' = h / 2 + x: all of the past in one number, so that a token can be taken back only while the numbers before it are
// kept, from the last commit on.
class Recurrence : public StateStore {
 public:
  SequenceId create() override {
    all_.push_back({{0.0}, 0, true});
    return SequenceId(all_.size() - 1);
  }
  SequenceId fork(SequenceId parent) override {
    all_.push_back(State(all_[parent]));
    return SequenceId(all_.size() - 1);
  }
  void release(SequenceId id) override { all_[id].alive = false; }
  size_t n_tokens(SequenceId id) const override { return all_[id].first + all_[id].h.size() - 1; }
  void append(SequenceId id, size_t n) override {
    for (size_t i = 0; i < n; ++i) all_[id].h.push_back(NAN);  // to be computed
  }
  void commit(SequenceId id) override {
    State& s = all_[id];
    s.first = n_tokens(id);
    s.h = {s.h.back()};
  }
  void truncate(SequenceId id, size_t n_tokens) override {
    State& s = all_[id];
    if (n_tokens == 0) {
      s = {{0.0}, 0, true};
    } else {
      ASSERT_GE(n_tokens, s.first);
      s.h.resize(n_tokens - s.first + 1);
    }
  }
  size_t n_fixed(SequenceId id) const override { return all_[id].first; }
  void keep(SequenceId, size_t, std::span<const Rows>) override {}

  void compute(SequenceId id, size_t token, float x) {
    State& s = all_[id];
    s.h[token - s.first + 1] = s.h[token - s.first] / 2 + x;
  }
  double value(SequenceId id) const { return all_[id].h.back(); }
  size_t n_kept(SequenceId id) const { return all_[id].h.size(); }

 private:
  struct State {
    std::vector<double> h;  // after tokens first, first + 1, ...
    size_t first;
    bool alive;
  };
  std::vector<State> all_;
};

double recurrence_of(const std::vector<float>& x) {
  double h = 0;
  for (const float v : x) h = h / 2 + v;
  return h;
}

struct Keys {
  KvCache store{{{{2, 3}}, DType::kF32, 4}, 400};
  void compute(KvCache::SequenceId id, size_t token, float x) {
    const std::vector<float> row(6, x);
    store.store(id, 0, token, {row.data(), 1, 6}, {row.data(), 1, 6});
  }
  void check(KvCache::SequenceId id, const std::vector<float>& want) const {
    const KvView view = store.view(id, 0);
    for (size_t t = 0; t < want.size(); ++t)
      ASSERT_EQ(reinterpret_cast<const float*>(view.pages[t / 4])[t % 4 * 3], want[t]);
  }
};

struct Recurrent {
  Recurrence store;
  void compute(StateStore::SequenceId id, size_t token, float x) { store.compute(id, token, x); }
  void check(StateStore::SequenceId id, const std::vector<float>& want) const {
    ASSERT_DOUBLE_EQ(store.value(id), recurrence_of(want));
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
    store.append(id, n);
    for (size_t i = 0; i < n; ++i) {
      text.push_back(float(rng() % 100));
      kind.compute(id, text.size() - 1, text.back());
    }
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
    EXPECT_LE(store.n_fixed(id), texts[id].size());
    for (const auto& [each, want] : texts)
      if (!want.empty()) kind.check(each, want);
  }
}

TEST(Recurrence, KeepsNothingOfWhatIsCommitted) {
  Recurrence r;
  const auto id = r.create();
  r.append(id, 20);
  EXPECT_EQ(r.n_kept(id), 21u);
  r.commit(id);
  EXPECT_EQ(r.n_kept(id), 1u);
  EXPECT_EQ(r.n_fixed(id), 20u);
}

}  // namespace
}  // namespace hunch
