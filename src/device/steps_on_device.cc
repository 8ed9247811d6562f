#include "device/steps_on_device.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "base/memory_info.h"
#include "kernels/ops.h"

namespace hunch {
namespace {

bool is_half(const KvShape& shape) {
  if (shape.type == KvType(DType::kF32)) return false;
  if (shape.type == KvType(DType::kF16)) return true;
  fail(ErrorKind::kUnsupported, "the KV cache on a device is f32 or f16, not {} (kv)", name_of(shape.type));
}

}  // namespace

StepsOnDevice::StepsOnDevice(const Model& model, const DeviceWeights& weights, std::shared_ptr<KvCache> cache,
                             std::shared_ptr<vulkan::Gpu> gpu, Compute& compute)
    : model_(model),
      weights_(weights),
      cache_(std::move(cache)),
      gpu_(std::move(gpu)),
      compute_(compute),
      arena_(gpu_),
      far_(gpu_, vulkan::MemoryKind::kUpload),
      cold_(model, weights.split, compute) {
  const ModelConfig& c = model.config();
  const KvShape& shape = cache_->shape();
  kv_ = {.n_pages = cache_->n_pages(), .page_tokens = shape.page_tokens, .half = is_half(shape)};
  const uint64_t page_bytes = kv_.page_bytes(c, first_layer());
  const uint64_t bytes = StepBuffers::bytes(c, first_layer(), kv_.n_pages * kv_.page_tokens) + page_bytes;
  gpu_->require_memory(bytes, "what a step computes with",
                       "have it compute fewer of the layers (gpu_layers), or use the processor, cpu");
  kv_.n_near = std::min<uint64_t>(kv_.n_pages, 1 + (gpu_->free_bytes() - bytes) / page_bytes);
  require_memory((kv_.n_pages - kv_.n_near) * page_bytes,
                 fmt::format("a context of {} tokens, {} of which the device has no room for,",
                             kv_.n_pages * kv_.page_tokens, (kv_.n_pages - kv_.n_near) * kv_.page_tokens),
                 "try a smaller context (n_ctx), or f16 as the type of the cache (kv)");
  vulkan::Uploader uploader(gpu_);
  buffers_ = std::make_unique<StepBuffers>(model, first_layer(), kv_, uploader, arena_, far_);
  upload_ =
      std::make_unique<vulkan::HostBlock>(gpu_, StepProgram::upload_bytes(*buffers_), vulkan::MemoryKind::kUpload);
  download_ =
      std::make_unique<vulkan::HostBlock>(gpu_, StepProgram::download_bytes(*buffers_), vulkan::MemoryKind::kDownload);
  cold_counts_.resize(c.n_layer);
  cache_->hold_elsewhere(first_layer());
}

void StepsOnDevice::require(const StepInput& input) const {
  for (const Run& run : input.runs) {
    if (run.adapter) DeviceAdapter::require(*run.adapter, first_layer(), !weights_.split.empty());
    if (run.trace)
      fail(ErrorKind::kUnsupported, "what each token used (trace) is not noted on devices: use the processor, cpu");
    if (run.plan) DevicePlan::require(*run.plan, first_layer());
    for (const auto& plan : run.watching)
      if (plan) DevicePlan::require(*plan, first_layer());
  }
}

// What the run's plan says of its tokens there, copied when it is first asked; none: nothing.
const DevicePlan* StepsOnDevice::plan_of(const Run& run) {
  if (run.phase == Phase::kPrompt || !run.plan || !DevicePlan::restricts(*run.plan, first_layer())) return nullptr;
  for (const auto& plan : plans_)
    if (plan->is(*run.plan)) return plan.get();
  plans_.push_back(std::make_unique<DevicePlan>(*run.plan, first_layer(), weights_.split, model_.config(), gpu_));
  return plans_.back().get();
}

// Likewise.
const DeviceAdapter* StepsOnDevice::adapter_of(const Run& run) {
  if (!run.adapter) return nullptr;
  for (const auto& adapter : adapters_)
    if (adapter->is(*run.adapter)) return adapter.get();
  adapters_.push_back(std::make_unique<DeviceAdapter>(*run.adapter, first_layer(), gpu_));
  return adapters_.back().get();
}

// Plans of texts that ended, most of them, and adapters that nobody has any more.
void StepsOnDevice::forget_old() {
  constexpr size_t kMostPlans = 16;
  const auto is_gone = [](const auto& adapter) { return adapter->is_gone(); };
  if (plans_.size() <= kMostPlans && std::ranges::none_of(adapters_, is_gone)) return;
  programs_.clear();
  if (plans_.size() > kMostPlans) plans_.clear();
  std::erase_if(adapters_, is_gone);
}

// Tokens that leave something out have lists of their own, and those that want the bits of decoding are computed as
// decoding does: one after the other.
std::vector<StepsOnDevice::Part> StepsOnDevice::parts_of(const StepInput& input) {
  std::vector<Part> parts;
  size_t first = 0;
  bool joins = false;  // the next token may go with those of the last part
  for (const Run& run : input.runs) {
    const DevicePlan* const plan = plan_of(run);
    const DeviceAdapter* const adapter = adapter_of(run);
    const bool alone = run.as_alone || plan;
    joins = joins && parts.back().adapter == adapter;
    for (size_t t = 0; t < run.n_tokens; ++t, ++first) {
      if (alone || !joins || parts.back().n_tokens == kMostDeviceTokens) parts.push_back({first, 0, plan, adapter});
      ++parts.back().n_tokens;
      joins = !alone;
    }
  }
  return parts;
}

// Sequences that shared a page and go on from it each have their own.
void StepsOnDevice::copy_pages() {
  const std::vector<KvCache::PageCopy> copies = cache_->take_page_copies();
  if (copies.empty()) return;
  vulkan::Commands commands(gpu_);
  for (const KvCache::PageCopy& copy : copies) {
    for (const vulkan::Pages& layer : std::span(buffers_->pages).subspan(first_layer())) {
      const uint64_t bytes = uint64_t(layer.n_kv_head) * layer.page_tokens * layer.d_head * (layer.half ? 2 : 4);
      const auto page = [&](const vulkan::Piece& near, const vulkan::Piece& far, uint32_t number) {
        return number < layer.n_near ? near.behind(number * bytes) : far.behind((number - layer.n_near) * bytes);
      };
      commands.copy(page(layer.k, layer.far_k, copy.from), 0, page(layer.k, layer.far_k, copy.to), 0, bytes);
      commands.copy(page(layer.v, layer.far_v, copy.from), 0, page(layer.v, layer.far_v, copy.to), 0, bytes);
    }
    commands.barrier();
  }
  commands.end();
  commands.run();
}

// Returns how many rows of logits the part has; `rows` are those from its first on.
size_t StepsOnDevice::write_inputs(const StepInput& input, MatView<const float> stream, const Part& part,
                                   std::span<const uint32_t> rows) {
  const std::span<uint32_t> words = upload_->as<uint32_t>();
  const auto array = [&](size_t i) { return words.subspan(i * kMostDeviceTokens, kMostDeviceTokens); };
  const std::span<uint32_t> ids = array(0), positions = array(1), tables = array(2), wanted = array(3);
  const std::span<uint32_t> table = words.subspan(4 * kMostDeviceTokens, buffers_->most_table_words);
  size_t first = 0, n_words = 0;
  for (const Run& run : input.runs) {
    const size_t begin = std::max(first, part.first_token),
                 end = std::min(first + run.n_tokens, part.first_token + part.n_tokens);
    if (begin < end) {
      const std::span<const uint32_t> pages = cache_->pages(run.sequence);
      const size_t n_before = cache_->n_tokens(run.sequence) - run.n_tokens;
      if (n_words + pages.size() > table.size())
        fail(ErrorKind::kLimit, "the page tables of this step's sequences have more than {} entries", table.size());
      std::ranges::copy(pages, table.begin() + ptrdiff_t(n_words));
      for (size_t t = begin; t < end; ++t) {
        ids[t - part.first_token] = uint32_t(input.ids[t]);
        positions[t - part.first_token] = uint32_t(n_before + t - first);
        tables[t - part.first_token] = uint32_t(n_words);
      }
      n_words += pages.size();
    }
    first += run.n_tokens;
  }
  if (first_layer() > 0) {
    const std::span<float> values = upload_->as<float>().subspan(StepProgram::stream_at(*buffers_) / sizeof(float));
    for (size_t t = 0; t < part.n_tokens; ++t)
      std::ranges::copy(stream.row(part.first_token + t), values.begin() + ptrdiff_t(t * buffers_->resid.stride));
  }
  size_t n_rows = 0;
  for (; n_rows < rows.size() && rows[n_rows] < part.first_token + part.n_tokens; ++n_rows)
    wanted[n_rows] = uint32_t(rows[n_rows] - part.first_token);
  return n_rows;
}

StepProgram& StepsOnDevice::program(const StepShape& shape) {
  constexpr size_t kMostPrograms = 256;
  if (programs_.size() >= kMostPrograms && !programs_.contains(shape)) programs_.clear();
  std::unique_ptr<StepProgram>& program = programs_[shape];
  if (!program)
    program =
        std::make_unique<StepProgram>(model_, weights_, *buffers_, shape, gpu_, upload_->piece(), download_->piece());
  return *program;
}

// Of these rows of logits (tokens of the step) what comes back: so many each, or all (0), also where that is hardly
// more.
uint32_t StepsOnDevice::n_best(const StepInput& input, std::span<const uint32_t> rows) const {
  size_t most = 0, end = 0;
  for (const Run& run : input.runs) {
    const size_t first = end;
    end += run.n_tokens;
    if (std::ranges::none_of(rows, [&](uint32_t row) { return row >= first && row < end; })) continue;
    const size_t n = run.only_best ? 1 : run.n_best;
    if (n == 0) return 0;
    most = std::max(most, n);
  }
  return most <= kMostBest && 2 * most < model_.config().n_vocab ? uint32_t(most) : 0;
}

// What came back, [shape.n_logits, n_vocab].
void StepsOnDevice::read_logits(const StepShape& shape, MatView<float> logits) const {
  const ModelConfig& c = model_.config();
  for (size_t i = 0; i < shape.n_logits; ++i) {
    const std::span<float> row = logits.row(i);
    if (shape.n_best == 0) {
      std::ranges::copy(download_->as<float>().subspan(i * buffers_->logits.stride, c.n_vocab), row.begin());
      if (c.logit_soft_cap > 0) soft_cap(c.logit_soft_cap, row);
      continue;
    }
    std::ranges::fill(row, -INFINITY);
    for (const StepProgram::Best& best : download_->as<StepProgram::Best>().subspan(i * shape.n_best, shape.n_best)) {
      row[best.id] = best.logit;
      if (c.logit_soft_cap > 0) soft_cap(c.logit_soft_cap, row.subspan(best.id, 1));
    }
  }
}

void StepsOnDevice::run(const StepInput& input, MatView<const float> stream, MatView<float> logits, StepStats& stats) {
  forget_old();
  copy_pages();
  size_t row = 0;
  for (const Part& part : parts_of(input)) {
    if (input.ids.size() > kMostDeviceTokens) compute_.throw_if_stopped();
    const size_t n_rows = write_inputs(input, stream, part, input.logit_rows.subspan(row));
    const StepShape shape{uint32_t(part.n_tokens), uint32_t(n_rows),
                          n_best(input, input.logit_rows.subspan(row, n_rows)), part.plan, part.adapter};
    program(shape).run([&](size_t layer) { compute_cold(part, layer); });
    read_logits(shape, logits.row_range(row, n_rows));
    row += n_rows;
    count(part, shape, stats);
  }
}

// What the processor's neurons of the layer add to the part's tokens.
void StepsOnDevice::compute_cold(const Part& part, size_t layer) {
  const size_t n_embd = model_.config().n_embd;
  const std::span<float> down = download_->as<float>().subspan(StepProgram::normed_at(*buffers_) / sizeof(float));
  const std::span<float> up = upload_->as<float>().subspan(StepProgram::cold_at(*buffers_) / sizeof(float));
  const MatView<const float> x(down.data(), part.n_tokens, n_embd, buffers_->normed.stride);
  const MatView<float> y(up.data(), part.n_tokens, n_embd, buffers_->resid.stride);
  ColdNeurons::Chosen chosen;
  std::span<const uint32_t> places;
  const DevicePlanLayer plan = part.plan ? part.plan->layer(layer) : DevicePlanLayer();
  if (plan.neurons) {
    const std::span<const uint32_t> list =
        download_->as<uint32_t>().subspan(StepProgram::chosen_at(*buffers_) / sizeof(uint32_t));
    places = list.subspan(1, list[0]);
    chosen.places = &places;
  }
  if (plan.live) chosen.live = &*plan.live;
  cold_counts_[layer] = cold_(layer, x, chosen, y);
}

// Weights count once for all tokens of a part.
void StepsOnDevice::count(const Part& part, const StepShape& shape, StepStats& stats) const {
  const ModelConfig& c = model_.config();
  const std::span<const StepProgram::Counts> counted(
      reinterpret_cast<const StepProgram::Counts*>(download_->bytes().data() + StepProgram::counts_at(*buffers_)),
      c.n_layer);
  const std::span<const uint32_t> positions = upload_->as<uint32_t>().subspan(kMostDeviceTokens, part.n_tokens);
  for (size_t i = first_layer(); i < c.n_layer; ++i) {
    const LayerConfig& lc = c.layers[i];
    const DeviceLayer& l = weights_.layers[i];
    const DevicePlanLayer plan = shape.plan ? shape.plan->layer(i) : DevicePlanLayer();
    // Computed of the first product of the MLP, of what follows it, and of heads.
    const uint64_t n_first = l.n_neurons > 0 && plan.neurons ? counted[i].neurons : l.n_neurons;
    const uint64_t n_live = l.n_neurons > 0 && plan.live ? counted[i].live : n_first;
    const uint64_t n_heads = (plan.heads ? counted[i].groups : lc.n_kv_head) * lc.n_group();
    stats.active_neurons[i] += (plan.neurons ? n_first : n_live) * part.n_tokens;
    if (l.n_cold > 0) stats.active_neurons[i] += plan.neurons ? cold_counts_[i].n_chosen : cold_counts_[i].n_live;
    stats.all_neurons[i] += lc.n_ff * part.n_tokens;
    stats.active_heads[i] += n_heads * part.n_tokens;
    stats.all_heads[i] += lc.n_head * part.n_tokens;
    for (const DeviceLinear* linear : {&l.q, &l.k, &l.v, &l.o}) stats.weight_bytes += linear->W.bytes();
    const auto share = [&](const DeviceLinear& of, uint64_t n) {
      return l.n_neurons > 0 ? of.W.bytes() * n / l.n_neurons : 0;
    };
    stats.weight_bytes += share(l.gate ? l.gate : l.up, n_first);
    if (l.gate) stats.weight_bytes += share(l.up, n_live);
    stats.weight_bytes += share(l.down, l.down.by_input ? n_live : l.n_neurons);
    for (const auto* choice : {&plan.neurons, &plan.heads})
      if (*choice) {
        stats.weight_bytes += (*choice)->bytes();
        stats.predictor_bytes += (*choice)->bytes();
      }
    const uint64_t key_bytes = 2 * n_heads / lc.n_group() * lc.d_head * (buffers_->pages[i].half ? 2 : 4);
    for (const uint32_t position : positions) {
      const uint64_t n_seen = uint64_t(position) + 1;
      stats.kv_bytes += key_bytes * (lc.window ? std::min<uint64_t>(n_seen, lc.window) : n_seen);
    }
  }
  if (shape.n_logits) stats.weight_bytes += weights_.output.W.bytes();
  if (shape.adapter) stats.weight_bytes += shape.adapter->bytes();
}

}  // namespace hunch
