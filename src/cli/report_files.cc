#include "cli/report_files.h"

#include "base/error.h"
#include "base/file.h"
#include "cli/report/svg.h"
#include "io/printable.h"

namespace hunch::cli {
namespace fs = std::filesystem;

void write_report_file(const fs::path& path, std::string_view text) {
  AtomicFile file(path);
  file.write(text);
  file.commit();
}

void make_svg_folder(const std::string& folder, bool force) {
  std::error_code ec;
  fs::create_directories(folder, ec);
  if (!fs::is_directory(folder, ec))
    fail(ErrorKind::kIo, "--svg: '{}' is no folder and cannot be made one", printable(folder, 300));
  for (const fs::directory_entry& entry : fs::directory_iterator(folder, ec))
    if (!force && entry.path().extension() == ".svg")
      fail(ErrorKind::kUsage, "--svg: '{}' is there already; --force writes over figures of the same name",
           printable(entry.path().string(), 300));
}

void write_svg_folder(const std::string& folder, const std::vector<Figure>& figures) {
  for (const Figure& f : figures)
    if (!f.svg.empty()) write_report_file(fs::path(folder) / (f.id + ".svg"), standalone_svg(f.svg, f.title));
}

}  // namespace hunch::cli
