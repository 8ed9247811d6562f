// What ranks pay for telling each other: microseconds of a sum, of a sum that is rounded to int8 on its way, and of a
// message, by size. As JSON, for bench/scale_model.py; int8_sum_us for docs/scale.md.
//
//   mpirun -n 2 --allow-run-as-root --bind-to none build/release/bench_ranks > ranks.json
#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <functional>
#include <vector>

#include "base/timer.h"
#include "mpi/mpi_ranks.h"
#include "parallel/rounded_sums.h"

namespace hunch {
namespace {

// Of many, after some that warm up, the time that a tenth stay below: on a busy machine the others wait for a core. The
// ranks begin together.
double fast_us(Communicator& ranks, const std::function<void()>& once) {
  std::vector<double> us;
  for (int i = 0; i < 520; ++i) {
    ranks.agree(true);
    const Timer timer;
    once();
    if (i >= 20) us.push_back(timer.seconds() * 1e6);
  }
  std::ranges::sort(us);
  return us[us.size() / 10];
}

int run() {
  const std::unique_ptr<Communicator> ranks = join_mpi();
  if (!ranks) {
    std::fputs("run it by mpirun: it measures what processes tell each other\n", stderr);
    return 2;
  }
  std::vector<std::string> rows;
  for (const size_t n : {1, 256, 1024, 2048, 4096, 8192, 65536, 1048576}) {
    std::vector<float> x(n, 1.0f);
    const double sum = fast_us(*ranks, [&] { ranks->sum(x); });
    // There and back, halved: from the first rank to the last one.
    const size_t last = ranks->n_ranks() - 1;
    const double message = fast_us(*ranks, [&] {
      if (ranks->leads()) {
        ranks->send(last, x);
        ranks->receive(last, x);
      } else if (ranks->rank() == last) {
        ranks->receive(0, x);
        ranks->send(0, x);
      }
    });
    std::string row =
        fmt::format("{{\"bytes\": {}, \"sum_us\": {:.2f}, \"message_us\": {:.2f}", 4 * n, sum, message / 2);
    if (n >= RoundedSums::kLeast) {
      RoundedSums rounded(*ranks);
      row += fmt::format(", \"int8_sum_us\": {:.2f}", fast_us(*ranks, [&] { rounded.sum(x); }));
    }
    rows.push_back(row + "}");
  }
  if (ranks->leads()) {
    std::string all;
    for (const std::string& row : rows) all += (all.empty() ? "\n  " : ",\n  ") + row;
    const std::string json = fmt::format("{{\"n_ranks\": {}, \"rows\": [{}]}}\n", ranks->n_ranks(), all);
    std::fputs(json.c_str(), stdout);
  }
  return 0;
}

}  // namespace
}  // namespace hunch

int main() { return hunch::run(); }
