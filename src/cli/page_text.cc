#include "cli/page_text.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

namespace hunch::cli {

std::string describe_pages(const PageReads& pages) {
  if (pages.n_choices == 0) return "";
  const double n = double(pages.n_choices);
  return fmt::format("a head read {:.1f} of {:.1f} pages of keys on average, all of them {:.1f} % of the time",
                     double(pages.n_read) / n, double(pages.n_of) / n, 100 * double(pages.n_whole) / n);
}

nlohmann::ordered_json pages_json(const PageReads& pages) {
  const double n = double(pages.n_choices);
  return {{"n_choices", pages.n_choices},
          {"mean_read", pages.n_choices ? double(pages.n_read) / n : 0},
          {"mean_of", pages.n_choices ? double(pages.n_of) / n : 0},
          {"read_all", pages.n_choices ? double(pages.n_whole) / n : 0}};
}

}  // namespace hunch::cli
