#include "device/step_program.h"

#include <cstddef>
#include <vector>

#include "base/error.h"

namespace hunch {
namespace {

vulkan::Function function_of(Activation activation) {
  switch (activation) {
    case Activation::kRelu: return vulkan::Function::kRelu;
    case Activation::kReluSquared: return vulkan::Function::kReluSquared;
    case Activation::kSilu: return vulkan::Function::kSilu;
    case Activation::kGeluErf: return vulkan::Function::kGeluErf;
    case Activation::kGeluTanh: return vulkan::Function::kGeluTanh;
    case Activation::kGeluQuick: return vulkan::Function::kGeluQuick;
  }
  HUNCH_CHECK(false, "activation {}", int(activation));
  return {};
}

}  // namespace

StepProgram::StepProgram(const Model& model, const DeviceWeights& weights, const StepBuffers& buffers,
                         const StepShape& shape, std::shared_ptr<vulkan::Gpu> gpu, const vulkan::Piece& upload,
                         const vulkan::Piece& download)
    : model_(model),
      weights_(weights),
      b_(buffers),
      shape_(shape),
      upload_(upload),
      download_(download),
      commands_(gpu),
      kernels_(gpu, commands_) {
  HUNCH_CHECK(shape.n_tokens > 0 && shape.n_tokens <= kMostDeviceTokens && (!shape.plan || shape.n_tokens == 1),
              "a step of {} tokens", shape.n_tokens);
  record();
}

void StepProgram::run(const std::function<void(size_t layer)>& cold) {
  size_t part = 0;
  for (const size_t layer : divided_) {
    commands_.run(part++);
    commands_.start(part++);
    try {
      cold(layer);
    } catch (...) {
      commands_.wait();
      throw;
    }
  }
  commands_.run(part);
}

void StepProgram::product(const DeviceLinear& linear, const vulkan::Values& x, const vulkan::Values& y,
                          uint32_t n_tokens, const vulkan::Onto& onto) {
  if (linear.by_input) {
    HUNCH_CHECK(onto.add, "two products by input could not share their parts");
    kernels_.add(linear.W, linear.bias, x, b_.add_parts, y, n_tokens, onto);
  } else {
    kernels_.dot(linear.W, linear.bias, x, y, n_tokens, onto);
  }
  const DeviceAdapter::Part* part = shape_.adapter ? shape_.adapter->find(linear.id) : nullptr;
  if (!part) return;
  commands_.barrier();
  kernels_.dot(part->A, {}, x, b_.low_rank, n_tokens, {});  // inputs that were left out are zero
  commands_.barrier();
  kernels_.dot(part->B, {}, b_.low_rank, y, n_tokens,
               {.add = true, .scale = onto.scale, .list = linear.by_input ? vulkan::Piece() : onto.list});
}

void StepProgram::record() {
  const ModelConfig& c = model_.config();
  const uint32_t n = shape_.n_tokens;
  commands_.copy(upload_, 0, b_.inputs, 0, b_.inputs.bytes);
  if (weights_.first_layer > 0)
    commands_.copy(upload_, stream_at(b_), b_.resid.piece, 0, uint64_t(n) * b_.resid.stride * sizeof(float));
  commands_.barrier();
  if (weights_.first_layer == 0) {
    kernels_.embed(weights_.token_embd, b_.ids, b_.positions, weights_.position_embd, c.embedding_scale, b_.resid, n);
    commands_.barrier();
    if (weights_.embd_norm.n) {
      kernels_.norm(weights_.embd_norm, b_.resid, b_.resid, n);
      commands_.barrier();
    }
  }
  for (size_t i = weights_.first_layer; i < c.n_layer; ++i) {
    attention(c.layers[i], weights_.layers[i]);
    mlp(c.layers[i], weights_.layers[i]);
  }
  if (shape_.n_logits) logits();
  for (size_t i = weights_.first_layer; shape_.plan && i < c.n_layer; ++i) {
    const uint64_t at = counts_at(b_) + i * sizeof(Counts);
    commands_.copy(b_.neurons[i], 0, download_, at + offsetof(Counts, neurons), sizeof(uint32_t));
    commands_.copy(b_.live[i], 0, download_, at + offsetof(Counts, live), sizeof(uint32_t));
    commands_.copy(b_.groups[i], 0, download_, at + offsetof(Counts, groups), sizeof(uint32_t));
  }
  commands_.end();
}

void StepProgram::logits() {
  const ModelConfig& c = model_.config();
  const uint32_t n = shape_.n_logits, n_best = shape_.n_best, n_vocab = uint32_t(c.n_vocab);
  kernels_.norm(weights_.output_norm, b_.resid, b_.last, n, b_.rows);
  commands_.barrier();
  product(weights_.output, b_.last, b_.logits, n, {.scale = c.logit_scale});
  commands_.barrier();
  if (n_best == 0)
    return commands_.copy(b_.logits.piece, 0, download_, 0, uint64_t(n) * b_.logits.stride * sizeof(float));
  if (n_best == 1) {
    kernels_.argmax(b_.logits, n_vocab, b_.best, n);
  } else {
    kernels_.largest(b_.logits, n_vocab, n_best, b_.best, n);
  }
  commands_.barrier();
  commands_.copy(b_.best, 0, download_, 0, uint64_t(n) * n_best * sizeof(Best));
}

const DevicePlanLayer& StepProgram::plan_of(size_t layer) const {
  static const DevicePlanLayer kDense;
  return shape_.plan && layer < model_.config().n_layer ? shape_.plan->layer(layer) : kDense;
}

void StepProgram::begin(const DeviceChoice& choice) {
  if (choice.is_static()) return;
  if (choice.out) {
    kernels_.dot(choice.in, {}, b_.normed, choice.hidden, 1, {});
  } else {
    kernels_.dot(choice.in, choice.bias, b_.normed, choice.scores, 1, {});
  }
}

void StepProgram::end(const DeviceChoice& choice) {
  if (!choice.out) return;
  if (choice.relu) {
    kernels_.activate({.function = vulkan::Function::kRelu}, choice.hidden, choice.in.n_rows, 1);
    commands_.barrier();
  }
  kernels_.dot(choice.out, choice.bias, choice.hidden, choice.scores, 1, {});
}

void StepProgram::list(const DeviceChoice& choice, size_t first, uint32_t n, const vulkan::Piece& list) {
  kernels_.list_above(choice.scores.piece.behind(first * sizeof(float)), n, choice.threshold, list);
}

void StepProgram::send(const DeviceLayer& l, const DevicePlanLayer& plan, size_t layer) {
  const uint64_t bytes = uint64_t(shape_.n_tokens) * b_.normed.stride * sizeof(float);
  commands_.copy(b_.normed.piece, 0, download_, normed_at(b_), bytes);
  if (plan.neurons) {
    list(*plan.neurons, l.n_neurons, l.n_cold, b_.chosen);
    commands_.barrier();
    commands_.copy(b_.chosen, 0, download_, chosen_at(b_), (1 + l.n_cold) * sizeof(uint32_t));
  }
  commands_.cut();
  divided_.push_back(layer);
}

void StepProgram::fetch(const LayerConfig& c) {
  commands_.cut();
  commands_.copy(upload_, cold_at(b_), b_.cold.piece, 0, uint64_t(shape_.n_tokens) * b_.cold.stride * sizeof(float));
  commands_.barrier();
  kernels_.add_values(b_.cold, c.residual_scale, b_.resid, uint32_t(c.n_embd), shape_.n_tokens);
  commands_.barrier();
}

void StepProgram::attention(const LayerConfig& c, const DeviceLayer& l) {
  const uint32_t n = shape_.n_tokens, n_head = uint32_t(c.n_head), n_kv_head = uint32_t(c.n_kv_head),
                 d_head = uint32_t(c.d_head);
  // Who is asked here, of this layer and of the next one.
  const DevicePlanLayer &plan = plan_of(c.index), &next = plan_of(c.index + 1);
  std::vector<const DeviceChoice*> asked;
  if (plan.heads && plan.heads->look == Look::kHere) asked.push_back(&*plan.heads);
  if (plan.neurons && plan.neurons->look == Look::kAttention) asked.push_back(&*plan.neurons);
  if (next.heads && next.heads->look == Look::kPreviousAttention) asked.push_back(&*next.heads);

  kernels_.norm(l.attn_norm, b_.resid, b_.normed, n);
  commands_.barrier();
  product(l.q, b_.normed, b_.q);
  product(l.k, b_.normed, b_.k);
  product(l.v, b_.normed, b_.v);
  for (const DeviceChoice* choice : asked) begin(*choice);
  commands_.barrier();
  if (l.q_norm.n) {
    kernels_.norm(l.q_norm, b_.q, b_.q, n);
    kernels_.norm(l.k_norm, b_.k, b_.k, n);
    commands_.barrier();
  }
  if (c.rotates) {
    const uint32_t n_pairs = uint32_t(model_.rope(c).n_pairs());
    kernels_.rope(b_.q, n_head, d_head, n_pairs, c.rope_interleaved, b_.turns[c.rope], b_.positions, n);
    kernels_.rope(b_.k, n_kv_head, d_head, n_pairs, c.rope_interleaved, b_.turns[c.rope], b_.positions, n);
    commands_.barrier();
  }
  const vulkan::Pages& pages = b_.pages[c.index];
  kernels_.store(pages, b_.k, b_.v, n);
  for (const DeviceChoice* choice : asked) end(*choice);
  commands_.barrier();
  vulkan::AttentionShape shape{
      .n_head = n_head, .window = uint32_t(c.window), .scale = c.attn_scale, .soft_cap = c.attn_soft_cap};
  if (plan.heads) {
    shape.scores = plan.heads->scores.piece;
    shape.threshold = plan.heads->threshold;
    list(*plan.heads, 0, n_kv_head, b_.groups[c.index]);  // to be counted
  }
  kernels_.attention(pages, shape, b_.q, b_.attention_parts, b_.heads, n);
  commands_.barrier();
  product(l.o, b_.heads, b_.resid, {.add = true, .scale = c.residual_scale});
  commands_.barrier();
}

void StepProgram::mlp(const LayerConfig& c, const DeviceLayer& l) {
  const uint32_t n = shape_.n_tokens, n_ff = l.n_neurons;
  const DevicePlanLayer& plan = plan_of(c.index);
  kernels_.norm(l.ffn_norm, b_.resid, b_.normed, n);
  vulkan::Piece rows;  // none: all
  if (plan.neurons) {
    commands_.fill_zero(
        {b_.act.piece.address, b_.act.piece.buffer, b_.act.piece.offset, b_.act.stride * sizeof(float)});
    commands_.barrier();
    if (plan.neurons->look == Look::kHere) {
      begin(*plan.neurons);
      commands_.barrier();
      end(*plan.neurons);
      commands_.barrier();
    }
    rows = b_.neurons[c.index];
    list(*plan.neurons, 0, n_ff, rows);
  }
  commands_.barrier();
  if (l.n_cold > 0) send(l, plan, c.index);
  if (n_ff > 0) neurons(c, l, rows);
  if (l.n_cold > 0) fetch(c);
}

// Those of the MLP that are here, all or those in `rows`.
void StepProgram::neurons(const LayerConfig& c, const DeviceLayer& l, vulkan::Piece rows) {
  const uint32_t n = shape_.n_tokens, n_ff = l.n_neurons;
  const DevicePlanLayer& plan = plan_of(c.index);
  const bool tells = plan.neurons || plan.live;  // up waits for what the gate says
  product(l.gate ? l.gate : l.up, b_.normed, b_.act, {.list = rows});
  if (l.gate && !tells) product(l.up, b_.normed, b_.ups);
  commands_.barrier();
  vulkan::Kernels::Gate gate{.function = function_of(c.activation), .threshold = c.details.threshold, .list = rows};
  if (l.gate && !tells) {
    gate.up = b_.ups;
    gate.up_relu = c.details.relu_up;
  }
  kernels_.activate(gate, b_.act, n_ff, n);
  commands_.barrier();
  if (plan.live) {  // what was not chosen is zero too
    rows = b_.live[c.index];
    kernels_.list_large(b_.act.piece, n_ff, *plan.live, rows);
    commands_.barrier();
  }
  if (l.gate && tells) {
    product(l.up, b_.normed, b_.ups, {.list = rows});
    commands_.barrier();
    kernels_.activate({.up = b_.ups, .up_relu = c.details.relu_up, .list = rows}, b_.act, n_ff, n);
    commands_.barrier();
  }
  // Row by row, W_down is read whole: what was left out is zero.
  product(l.down, b_.act, b_.resid,
          {.add = true, .scale = c.residual_scale, .list = l.down.by_input ? rows : vulkan::Piece()});
  commands_.barrier();
}

}  // namespace hunch
