#include "compress/matrix/hadamard.h"

#include <cmath>
#include <random>

#include "base/error.h"
#include "compress/linear_algebra.h"
#include "kernels/orthonormalise.h"

namespace hunch {
namespace {

bool is_prime(size_t n) {
  if (n < 2) return false;
  for (size_t d = 2; d * d <= n; ++d)
    if (n % d == 0) return false;
  return true;
}

// Whether a is a square mod q: 1, -1, and 0 for 0.
std::vector<int> quadratic_characters(size_t q) {
  std::vector<int> chi(q, -1);
  chi[0] = 0;
  for (size_t a = 1; a < q; ++a) chi[a * a % q] = 1;
  return chi;
}

using Signs = std::vector<std::vector<int>>;

// S [q + 1, q + 1]: a border of ones around chi(i - j), negated on the left where q = 3 mod 4; S S^T = q I.
Signs conference(size_t q) {
  const std::vector<int> chi = quadratic_characters(q);
  Signs S(q + 1, std::vector<int>(q + 1));
  for (size_t i = 0; i < q; ++i) {
    S[0][i + 1] = 1;
    S[i + 1][0] = q % 4 == 3 ? -1 : 1;
    for (size_t j = 0; j < q; ++j) S[i + 1][j + 1] = chi[(i + q - j) % q];
  }
  return S;
}

// Paley's first: S + I.
Signs paley_one(size_t q) {
  Signs H = conference(q);
  for (size_t i = 0; i <= q; ++i) H[i][i] = 1;
  return H;
}

// Paley's second: of the symmetric S each 0 becomes [[1, -1], [-1, -1]] and each s becomes s [[1, 1], [1, -1]].
Signs paley_two(size_t q) {
  const Signs S = conference(q);
  Signs H(2 * (q + 1), std::vector<int>(2 * (q + 1)));
  for (size_t i = 0; i <= q; ++i)
    for (size_t j = 0; j <= q; ++j) {
      const int s = S[i][j];
      H[2 * i][2 * j] = s ? s : 1;
      H[2 * i][2 * j + 1] = H[2 * i + 1][2 * j] = s ? s : -1;
      H[2 * i + 1][2 * j + 1] = s ? -s : -1;
    }
  return H;
}

// Of m rows, or none.
Signs paley(size_t m) {
  if (m % 4 != 0) return {};
  if (is_prime(m - 1) && (m - 1) % 4 == 3) return paley_one(m - 1);
  if (is_prime(m / 2 - 1) && (m / 2 - 1) % 4 == 1) return paley_two(m / 2 - 1);
  return {};
}

// Rows and columns times -1 so that the first of each is positive; orthonormal.
std::vector<float> normalised(Signs H) {
  const size_t m = H.size();
  for (size_t j = 0; j < m; ++j)
    if (H[0][j] < 0)
      for (size_t i = 0; i < m; ++i) H[i][j] = -H[i][j];
  std::vector<float> out;
  for (size_t i = 0; i < m; ++i)
    for (size_t j = 0; j < m; ++j) out.push_back(float(H[i][0] * H[i][j]) / std::sqrt(float(m)));
  return out;
}

std::vector<float> random_core(size_t m, uint64_t seed) {
  Matrix rows(m, m);
  std::mt19937_64 rng(seed);
  std::normal_distribution<float> normal;
  for (float& v : rows.values) v = normal(rng);
  for (float& v : rows.row(0)) v = 1;
  orthonormalise(rows.view());
  return rows.values;
}

}  // namespace

Hadamard::Hadamard(size_t n, uint64_t seed) : n_(n) {
  constexpr size_t kWidest = 4096;
  HUNCH_CHECK(n > 0);
  size_t odd = n;
  while (odd % 2 == 0) odd /= 2;
  if (odd == 1) return;
  // The smallest of odd, 2 odd, 4 odd, ... that Paley has.
  for (size_t m = odd; n % m == 0 && m <= kWidest; m *= 2)
    if (const Signs H = paley(m); !H.empty()) {
      core_n_ = m;
      core_ = normalised(H);
      return;
    }
  if (odd > kWidest)
    fail(ErrorKind::kUnsupported, "vectors of {} = 2^k x {} values: no Hadamard matrix of that size is known here", n,
         odd);
  core_n_ = odd;
  is_random_ = true;
  core_ = random_core(odd, seed);
}

void Hadamard::apply(std::span<float> x, bool transposed) const {
  HUNCH_CHECK(x.size() == n_);
  // x as [core, 2^k]: each row by Sylvester's, then each column by the core.
  const size_t power = n_ / core_n_;
  const float scale = 1 / std::sqrt(float(power));
  for (size_t c = 0; c < core_n_; ++c) {
    const std::span<float> part = x.subspan(c * power, power);
    for (size_t half = 1; half < power; half *= 2)
      for (size_t begin = 0; begin < power; begin += 2 * half)
        for (size_t i = begin; i < begin + half; ++i) {
          const float a = part[i], b = part[i + half];
          part[i] = a + b, part[i + half] = a - b;
        }
    for (float& v : part) v *= scale;
  }
  if (core_n_ == 1) return;
  std::vector<float> out(n_);
  for (size_t i = 0; i < core_n_; ++i)
    for (size_t j = 0; j < core_n_; ++j) {
      const float h = transposed ? core_[j * core_n_ + i] : core_[i * core_n_ + j];
      for (size_t p = 0; p < power; ++p) out[i * power + p] += h * x[j * power + p];
    }
  std::copy(out.begin(), out.end(), x.begin());
}

SpreadingRotation::SpreadingRotation(size_t n, uint64_t seed, bool keeps_mean)
    : hadamard_(n, seed), signs_(n, 1.0f), keeps_mean_(keeps_mean) {
  std::mt19937_64 rng(seed);
  for (size_t i = 0; i < n; ++i)
    if (rng() & 1) signs_[i] = -1;
  if (keeps_mean) signs_[0] = 1;
}

void SpreadingRotation::apply(std::span<float> x) const {
  if (keeps_mean_) hadamard_.multiply(x);
  for (size_t i = 0; i < x.size(); ++i) x[i] *= signs_[i];
  keeps_mean_ ? hadamard_.multiply_transposed(x) : hadamard_.multiply(x);
}

}  // namespace hunch
