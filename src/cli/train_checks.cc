#include "cli/train_checks.h"

#include "base/error.h"
#include "io/printable.h"

namespace hunch::cli {
namespace fs = std::filesystem;

bool trains_all(const TrainFlags& flags) { return flags.method == "full" || flags.is_new || flags.grows; }
bool writes_folder(const TrainFlags& flags) { return !trains_all(flags) && !flags.out.ends_with(".gguf"); }

fs::path output_path(const TrainFlags& flags) {
  const fs::path out = flags.out;
  return out.has_filename() ? out : out.parent_path();
}

namespace {

void check_what_is_read(const TrainFlags& flags) {
  const int n_sources = !flags.text.empty() + !flags.examples.empty() + !flags.task.empty();
  if (n_sources == 0)
    fail(ErrorKind::kUsage,
         "on which text? give --text FILE, some 100 KB or more like what the model is to write; or --examples, --task");
  if (n_sources > 1) fail(ErrorKind::kUsage, "one of --text, --examples and --task");
  if (flags.task.empty() != flags.file.empty())
    fail(ErrorKind::kUsage, "--task NAME and --file FILE, its questions, go together");
}

void check_shape(const TrainFlags& flags) {
  const bool sizes = flags.n_layer || flags.n_embd || flags.n_ff || flags.n_head || flags.n_kv_head;
  if (flags.is_new && flags.grows) fail(ErrorKind::kUsage, "--new or --grow, not both");
  if (!flags.is_new && !flags.grows) {
    if (sizes || flags.init != "fan-in")
      fail(ErrorKind::kUsage, "--layers, --width, --ff, --heads, --kv-heads and --init are of --new or --grow");
    return;
  }
  if (flags.grows && !flags.n_layer && !flags.n_embd && !flags.n_ff)
    fail(ErrorKind::kUsage, "--grow: by what? give --layers, --width or --ff");
  if (flags.grows && (flags.n_head || flags.n_kv_head || flags.init != "fan-in"))
    fail(ErrorKind::kUsage, "--heads, --kv-heads and --init are of --new: heads grow with --width");
  if (flags.is_new && (!flags.only_layers.empty() || flags.keep_zeros))
    fail(ErrorKind::kUsage, "--only-layers and --keep-zeros: nothing of a new model is worth keeping");
}

}  // namespace

void check_train_flags(const TrainFlags& flags) {
  check_what_is_read(flags);
  check_shape(flags);
  if (flags.method == "ia3" && !trains_all(flags) && (flags.rank || flags.alpha || !flags.only.empty()))
    fail(ErrorKind::kUsage, "--rank, --alpha and --only are of --method lora, rslora or dora");
  if (trains_all(flags) && (flags.rank || flags.alpha || !flags.only.empty()))
    fail(ErrorKind::kUsage, "--rank, --alpha and --only are of adapters: --method lora, rslora or dora");
  const bool reshapes =
      flags.type != "auto" || flags.activation != "auto" || flags.l1 > 0 || flags.keep_zeros || flags.prune > 0;
  if (reshapes && !trains_all(flags))
    fail(ErrorKind::kUsage,
         "--type, --activation, --l1, --keep-zeros and --prune change the model itself: they go with --method full");
  if (flags.learns_clipping && (flags.type == "auto" || flags.optimizer == "lomo"))
    fail(ErrorKind::kUsage, "--learn-clipping: expected --type, whose rounding it is for, and no --optimizer lomo");
  if (!flags.only_layers.empty() && flags.type != "auto")
    fail(ErrorKind::kUsage, "--only-layers: --type rounds all layers, and all learn to bear it");
  if (!(flags.prune >= 0 && flags.prune < 1)) fail(ErrorKind::kUsage, "--prune: expected a share from 0 to below 1");
  if (flags.activation_threshold != 0 && (flags.activation != "relu" || flags.activation_threshold < 0))
    fail(ErrorKind::kUsage, "--activation-threshold: expected at least 0, with --activation relu");
  if ((flags.method == "dora" || flags.method == "ia3") && !trains_all(flags) && !writes_folder(flags))
    fail(ErrorKind::kUsage, "-o: a GGUF adapter cannot hold {}; give a folder, as PEFT has them",
         flags.method == "dora" ? "DoRA" : "IA3");
  if (trains_all(flags) && !flags.out.ends_with(".gguf"))
    fail(ErrorKind::kUsage, "-o: --method full writes a model, expected a name that ends with .gguf");
  if (!(flags.n_epochs > 0)) fail(ErrorKind::kUsage, "--epochs: expected more than 0");
  if (!(flags.last_rate >= 0 && flags.last_rate <= 1))
    fail(ErrorKind::kUsage, "--last-rate: expected a share of the peak from 0 to 1");
  if (!(flags.weight_decay >= 0 && flags.clip >= 0 && flags.learning_rate >= 0))
    fail(ErrorKind::kUsage, "--weight-decay, --clip and --learning-rate: expected at least 0");
  if (!(flags.distill_share >= 0 && flags.distill_share <= 1) || !(flags.distill_temperature > 0))
    fail(ErrorKind::kUsage, "--distill-share: expected 0 to 1; --distill-temperature: more than 0");
  std::error_code ec;
  if (const fs::path in = output_path(flags).parent_path(); !in.empty() && !fs::is_directory(in, ec))
    fail(ErrorKind::kUsage, "-o: there is no folder '{}' to write into", printable(in.string(), 300));
  if (!flags.model.lora.empty()) fail(ErrorKind::kUsage, "merge the adapter into a model first (`hunch merge`)");
}

}  // namespace hunch::cli
