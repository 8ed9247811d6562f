// The kernels that go on from token to token, against their references: every target, tails and strides, and that the
// bits of a token do not depend on where the text is cut.
#include <gtest/gtest.h>

#include <cstring>

#include "kernels/causal_conv.h"
#include "kernels/delta_rule.h"
#include "kernels/matmul_test_util.h"
#include "kernels/selective_scan.h"

namespace hunch {
namespace {

// A matrix whose rows are `pad` further apart than they are long, exactly as long as it needs to be.
struct Padded {
  Padded(size_t rows, size_t cols, size_t pad, uint32_t seed)
      : values(normal_values(rows ? (rows - 1) * (cols + pad) + cols : 0, seed)),
        view(values.data(), rows, cols, cols + pad) {
    values.shrink_to_fit();
    view.data = values.data();
  }
  Padded(const Padded& other) : values(other.values), view(other.view) { view.data = values.data(); }
  std::vector<float> values;
  MatView<float> view;
};

std::vector<float> between(float low, float high, size_t n, uint32_t seed) {
  std::mt19937 rng(seed);
  std::uniform_real_distribution<float> distribution(low, high);
  std::vector<float> x(n);
  for (float& v : x) v = distribution(rng);
  return x;
}

void expect_near(MatView<const float> got, MatView<const float> want, float tolerance, const char* what) {
  for (size_t t = 0; t < want.rows; ++t)
    for (size_t i = 0; i < want.cols; ++i)
      ASSERT_NEAR(got.row(t)[i], want.row(t)[i], tolerance * (1 + std::abs(want.row(t)[i])))
          << what << " " << t << ", " << i;
}

void expect_same_bits(MatView<const float> a, MatView<const float> b, const char* what) {
  for (size_t t = 0; t < a.rows; ++t)
    ASSERT_EQ(std::memcmp(a.row(t).data(), b.row(t).data(), a.cols * sizeof(float)), 0) << what << " " << t;
}

TEST(CausalConv, IsTheReferenceHoweverTheTextIsCut) {
  for (const size_t n : {1, 3, 16, 17, 63, 130})
    for (const size_t k : {1, 3, 4})
      for (const bool silu : {false, true}) {
        const size_t n_tokens = 7;
        const Padded X(n_tokens, n, 5, 1), W(k, n, 2, 2), past(k - 1, n, 3, 3);
        const std::vector<float> bias = silu ? normal_values(n, 4) : std::vector<float>();
        Padded want_past(past), want(n_tokens, n, 1, 5);
        ref::causal_conv(X.view, W.view, bias, silu, want_past.view, want.view);
        for_each_target([&] {
          Compute compute(2);
          Padded whole_past(past), whole(n_tokens, n, 1, 5), cut_past(past), cut(n_tokens, n, 1, 5);
          causal_conv(compute, X.view, W.view, bias, silu, whole_past.view, whole.view);
          expect_near(whole.view, want.view, 2e-6f, "output");
          expect_same_bits(whole_past.view, want_past.view, "past");
          size_t first = 0;
          for (const size_t n_part : {1, 2, 4}) {
            causal_conv(compute, X.view.row_range(first, n_part), W.view, bias, silu, cut_past.view,
                        cut.view.row_range(first, n_part));
            first += n_part;
          }
          expect_same_bits(cut.view, whole.view, "output in parts");
          expect_same_bits(cut_past.view, whole_past.view, "past in parts");
        });
      }
}

TEST(SelectiveScan, IsTheReferenceHoweverTheTextIsCut) {
  for (const size_t n_state : {1, 12, 16, 33, 128})
    for (const size_t d : {1, 8, 5}) {
      const size_t n_tokens = 9;
      const Padded x(n_tokens, d, 3, 1), B(n_tokens, n_state, 4, 2), C(n_tokens, n_state, 0, 3),
          state(d, n_state, 1, 4);
      const std::vector<float> decay = between(0, 1, n_tokens, 5), dt = between(0, 2, n_tokens, 6);
      Padded want_state(state), want(n_tokens, d, 2, 7);
      SelectiveScan head{x.view, B.view, C.view, decay, dt, 0.7f, want_state.view, want.view};
      ref::selective_scan(head);
      for_each_target([&] {
        Padded whole_state(state), whole(n_tokens, d, 2, 7), cut_state(state), cut(n_tokens, d, 2, 7);
        head.state = whole_state.view;
        head.y = whole.view;
        selective_scan(head);
        expect_near(whole.view, want.view, 2e-5f, "output");
        expect_near(whole_state.view, want_state.view, 2e-5f, "state");
        size_t first = 0;
        for (const size_t n : {1, 3, 5}) {
          selective_scan({x.view.row_range(first, n), B.view.row_range(first, n), C.view.row_range(first, n),
                          std::span(decay).subspan(first, n), std::span(dt).subspan(first, n), 0.7f, cut_state.view,
                          cut.view.row_range(first, n)});
          first += n;
        }
        expect_same_bits(cut.view, whole.view, "output in parts");
        expect_same_bits(cut_state.view, whole_state.view, "state in parts");
      });
    }
}

TEST(DeltaRule, IsTheReferenceHoweverTheTextIsCut) {
  for (const size_t d_key : {1, 8, 16, 35, 128})
    for (const size_t d_value : {1, 8, 5}) {
      const size_t n_tokens = 9;
      Padded q(n_tokens, d_key, 3, 1), k(n_tokens, d_key, 4, 2);
      for (Padded* m : {&q, &k})  // of length 1 as models have them: else the state grows
        for (size_t t = 0; t < n_tokens; ++t) {
          float squares = 0;
          for (const float value : m->view.row(t)) squares += value * value;
          for (float& value : m->view.row(t)) value /= std::sqrt(squares);
        }
      const Padded v(n_tokens, d_value, 0, 3), state(d_value, d_key, 1, 4);
      const std::vector<float> decay = between(0, 1, n_tokens, 5), beta = between(0, 1, n_tokens, 6);
      Padded want_state(state), want(n_tokens, d_value, 2, 7);
      DeltaRule head{q.view, k.view, v.view, decay, beta, want_state.view, want.view};
      ref::delta_rule(head);
      for_each_target([&] {
        Padded whole_state(state), whole(n_tokens, d_value, 2, 7), cut_state(state), cut(n_tokens, d_value, 2, 7);
        head.state = whole_state.view;
        head.y = whole.view;
        delta_rule(head);
        expect_near(whole.view, want.view, 1e-5f, "output");
        expect_near(whole_state.view, want_state.view, 1e-5f, "state");
        size_t first = 0;
        for (const size_t n : {1, 3, 5}) {
          delta_rule({q.view.row_range(first, n), k.view.row_range(first, n), v.view.row_range(first, n),
                      std::span(decay).subspan(first, n), std::span(beta).subspan(first, n), cut_state.view,
                      cut.view.row_range(first, n)});
          first += n;
        }
        expect_same_bits(cut.view, whole.view, "output in parts");
        expect_same_bits(cut_state.view, whole_state.view, "state in parts");
      });
    }
}

}  // namespace
}  // namespace hunch
