#include "cli/compress_rotate.h"

#include <nlohmann/json.hpp>
#include <optional>

#include "base/error.h"
#include "cli/compress_flags.h"
#include "cli/console.h"
#include "cli/output_file.h"
#include "cli/session_io.h"
#include "compress/compress_options.h"
#include "compress/rotate.h"

namespace hunch::cli {
namespace fs = std::filesystem;
namespace {

constexpr std::string_view kRotate = "rotate";

// What is done after it: "rtn" of "rotate,rtn".
std::string methods_behind(const CompressFlags& flags) {
  const std::string_view list = *flags.method;
  return std::string(list.size() > kRotate.size() ? list.substr(kRotate.size() + 1) : std::string_view());
}

// A file that is not there any more at the end.
struct Between {
  fs::path path;
  ~Between() {
    std::error_code ec;
    fs::remove(path, ec);
  }
};

// `dtype`: none is the model's own float type, or f16; the one that was taken is told.
RotateReport rotate(const CompressFlags& flags, const fs::path& to, std::optional<DType>& dtype) {
  const Engine engine = open_engine(flags.model);
  print_first_line(engine, flags.model, {}, 0, 0);
  const DType own = engine.model->main_dtype();
  if (!dtype) dtype = info(own).is_float() && info(own).writes() ? own : DType::kF16;
  ProgressBar bar(!flags.model.quiet);
  return rotate_model(engine, to, {.dtype = *dtype}, bar.progress());
}

void tell(const RotateReport& report, const CompressFlags& flags) {
  if (flags.model.quiet) return;
  note(fmt::format("rotated {} matrices by {}{}", report.n_matrices, report.how,
                   report.n_values ? fmt::format(", and the heads of values of {} layers", report.n_values) : ""));
}

void check_alone(const CompressFlags& flags) {
  if (!flags.text.empty() || !flags.eval.empty() || flags.bits || flags.group || flags.sparsity || flags.pattern ||
      flags.symmetric || flags.act_order || flags.damping != CompressFlags().damping || flags.dense_blocks ||
      !flags.only.empty() || flags.inputs != "auto" || flags.low_rank || flags.rank || flags.plain || flags.alpha ||
      flags.threshold || flags.scales != "auto" || flags.activations != "auto" || flags.range != "auto" ||
      flags.max_ppl_increase || flags.scope != "auto" || !flags.rotate_inputs.empty())
    fail(ErrorKind::kUsage,
         "rotate alone changes no value of the model and looks at no text: only --type goes with it; `rotate,rtn` "
         "rounds "
         "what it makes");
}

}  // namespace

bool asks_for_rotation(const CompressFlags& flags) {
  return flags.method && (*flags.method == kRotate || flags.method->starts_with(std::string(kRotate) + ","));
}

int compress_rotated(const CompressFlags& flags) {
  if (flags.layout != "auto" || flags.out.ends_with('/'))
    fail(
        ErrorKind::kUsage,
        "a rotated model is written as a GGUF file: no layout of quantised folders says that an embedding is no longer "
        "tied, or that norms are ones");
  CompressFlags rest = flags;
  rest.method = methods_behind(flags);
  if (!rest.method->empty()) check_method_flags(rest);
  check_output(flags.out, inputs_of(flags.model, {flags.text, flags.eval}), flags.force, "-o");
  if (rest.method->empty()) {
    check_alone(flags);
    std::optional<DType> dtype;
    if (flags.type != "auto") dtype = *dtype_from_name(flags.type);  // the grammar let only names pass
    if (dtype && !info(*dtype).is_float())
      fail(ErrorKind::kUsage, "--type {}: rotate alone writes floats; `rotate,rtn` rounds them", flags.type);
    const RotateReport report = rotate(flags, flags.out, dtype);
    if (flags.model.json)
      print_json({{"out", flags.out},
                  {"method", "rotate"},
                  {"type", name_of(*dtype)},
                  {"rotation", report.how},
                  {"n_matrices", report.n_matrices},
                  {"n_value_layers", report.n_values}});
    tell(report, flags);
    if (!flags.model.quiet) note(fmt::format("wrote {}", flags.out));
    return 0;
  }
  const Between between{flags.out + ".rotated"};
  std::error_code ec;
  if (fs::exists(between.path, ec))
    fail(ErrorKind::kUsage, "'{}' is there already: another run's, or what one that was killed has left; remove it",
         between.path.string());
  std::optional<DType> dtype = DType::kF32;
  tell(rotate(flags, between.path, dtype), flags);
  rest.model.model = between.path.string();
  return compress_by_method(rest);
}

}  // namespace hunch::cli
