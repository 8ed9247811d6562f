// Where reports and their figures are written.
#pragma once
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "cli/report/figure.h"

namespace hunch::cli {

// All of it or nothing. Throws Error{kIo}.
void write_report_file(const std::filesystem::path& path, std::string_view text);

// The folder of --svg. Which figures there will be is not known yet: with any of that kind in it, `force` is asked for.
// Throws Error{kUsage | kIo}.
void make_svg_folder(const std::string& folder, bool force);
void write_svg_folder(const std::string& folder, const std::vector<Figure>& figures);

}  // namespace hunch::cli
