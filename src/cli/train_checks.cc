#include "cli/train_checks.h"

#include "base/error.h"
#include "cli/teacher_answers.h"
#include "io/printable.h"
#include "train/training.h"

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
  const int n_sources = !flags.text.empty() + !flags.examples.empty() + !flags.task.empty() + !flags.prompts.empty();
  if (n_sources == 0)
    fail(ErrorKind::kUsage,
         "on which text? give --text FILE, some 100 KB or more like what the model is to write; or --examples, --task, "
         "--prompts with --teacher");
  if (n_sources > 1) fail(ErrorKind::kUsage, "one of --text, --examples, --task and --prompts");
  if (!flags.prompts.empty() && flags.teacher.empty())
    fail(ErrorKind::kUsage, "--prompts: who answers them? give --teacher MODEL or URL");
  if (flags.prompts.empty() && is_url(flags.teacher))
    fail(ErrorKind::kUsage,
         "--teacher URL: a server tells texts, not all probabilities; give --prompts FILE, which it answers");
  if (flags.prompts.empty() && !flags.teacher_model.empty())
    fail(ErrorKind::kUsage, "--teacher-model is of --teacher URL with --prompts");
  if (flags.n_answer_tokens == 0 || !(flags.answer_temperature >= 0))
    fail(ErrorKind::kUsage, "--answer-tokens: expected at least 1; --answer-temperature: at least 0");
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
  TrainingJob job;
  job.method = trains_all(flags) ? "full" : flags.method;
  if (!job.has_low_rank() && (flags.rank || flags.alpha || !flags.only.empty()))
    fail(ErrorKind::kUsage, "--rank, --alpha and --only are of adapters: --method lora, rslora or dora");
  if (!job.has_low_rank() && !flags.loftq.empty())
    fail(ErrorKind::kUsage, "--loftq is of adapters: --method lora, rslora or dora");
  if (!job.has_virtual_tokens() && flags.n_virtual_tokens)
    fail(ErrorKind::kUsage, "--virtual-tokens is of --method prompt or prefix");
  if (job.has_virtual_tokens() && !flags.only_layers.empty())
    fail(ErrorKind::kUsage, "--only-layers: virtual tokens stand before all layers");
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
  if (!job.trains_all() && !writes_folder(flags) && !fits_gguf_adapter(job))
    fail(ErrorKind::kUsage, "-o: a GGUF adapter cannot hold --method {}; give a folder, as PEFT has them", job.method);
  if (trains_all(flags) && !flags.out.ends_with(".gguf"))
    fail(ErrorKind::kUsage, "-o: --method full writes a model, expected a name that ends with .gguf");
  if (flags.l1_stages == 0 || (flags.l1_stages > 1 && flags.l1 == 0))
    fail(ErrorKind::kUsage, "--l1-stages: expected 1 or more, with --l1");
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
