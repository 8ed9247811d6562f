// The report as one HTML page and as JSON.
#pragma once
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "cli/report/figures.h"

namespace hunch::cli {

// One self-contained page: no script, no network; follows the reader's light or dark theme and prints.
std::string report_page(const Trace& trace, const ReportInfo& info, const std::vector<Figure>& figures);

// All numbers of the trace; the keys are documented in docs/contextual-sparsity.md.
nlohmann::ordered_json trace_json(const Trace& trace, const ReportInfo& info);

}  // namespace hunch::cli
