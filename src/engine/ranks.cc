#include "engine/ranks.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <cstring>
#include <optional>

#include "base/aligned_buffer.h"
#include "base/error.h"
#include "base/memory_info.h"
#include "base/timer.h"
#include "engine/sequence.h"
#include "kernels/read_stream.h"

namespace hunch {
namespace {

struct SentOptions {
  uint64_t n_threads;
  RopeChoice rope;
  QuantisedAs quantised;
  bool pin_threads, reblock_down, has_rope, by_layers;
};

// What this process can read with its threads, best of a few times: less than the machine's best, but alike on all.
float read_gb_per_s(size_t n_threads) {
  ThreadPool threads(n_threads ? n_threads : default_n_threads());
  constexpr size_t kBytes = size_t{64} << 20, kPiece = size_t{1} << 20;
  const AlignedBuffer memory(kBytes);
  std::memset(memory.data(), 1, kBytes);
  double best = 0;
  for (int i = 0; i < 4; ++i) {
    const Timer timer;
    threads.parallel_for(kBytes / kPiece, 1, [&](size_t begin, size_t end) {
      read_stream({memory.data() + begin * kPiece, (end - begin) * kPiece});
    });
    best = std::max(best, double(kBytes) / timer.seconds() / 1e9);
  }
  return float(best);
}

// On every rank; rank 0 gets all ranks' numbers.
void measure(Ranks& ranks, size_t n_threads, std::span<float> gb_per_s, std::span<float> memory) {
  const float speed = read_gb_per_s(n_threads), bytes = float(available_memory_bytes());
  const std::vector<size_t> one_each(ranks.shard().n, 1);
  ranks.communicator().gather({&speed, 1}, one_each, gb_per_s);
  ranks.communicator().gather({&bytes, 1}, one_each, memory);
}

bool wait_for_word(Ranks& ranks, bool word) {
  std::byte byte{word};
  ranks.communicator().broadcast({&byte, 1}, Wait::kIdle);  // models take long to open
  return byte != std::byte{0};
}

// A model's part, and who computes with it.
struct Part {
  std::optional<Engine> engine;
  std::optional<Follower> follower;

  void open(Ranks& ranks, Message& message) {
    const std::string path = message.get_text();
    const auto sent = message.get<SentOptions>();
    EngineOptions options;
    options.n_threads = sent.n_threads;
    options.pin_threads = sent.pin_threads;
    options.reblock_down = sent.reblock_down;
    options.quantised = sent.quantised;
    if (sent.has_rope) options.rope = sent.rope;
    ranks.division = {.by_layers = sent.by_layers, .n_layers = message.get_list<uint32_t>()};
    options.ranks = &ranks;
    std::string problem;
    try {
      engine = load_engine(path, options);
    } catch (const std::exception& e) {
      problem = e.what();
    }
    if (!wait_for_word(ranks, true)) return engine.reset();  // rank 0 says what is wrong
    if (!engine) fail(ErrorKind::kIo, "{}", problem);
    follower.emplace(*engine->model, *engine->compute, [this](const Plan& plan) { prepare_layouts(*engine, plan); });
  }

  void close() {
    follower.reset();
    engine.reset();
  }
};

}  // namespace

OnOtherRanks::OnOtherRanks(Ranks& ranks, const std::filesystem::path& path, const EngineOptions& options)
    : ranks_(ranks) {
  if (ranks.has_model)
    fail(ErrorKind::kUnsupported, "several ranks compute one model at a time, and have one; run it without mpirun");
  ranks.outbox().put(Order::kLoad);
  ranks.outbox().put_text(std::filesystem::absolute(path).string());
  SentOptions sent{};
  sent.n_threads = options.n_threads;
  sent.rope = options.rope.value_or(RopeChoice());
  sent.quantised = options.quantised;
  sent.pin_threads = options.pin_threads;
  sent.reblock_down = options.reblock_down;
  sent.has_rope = options.rope.has_value();
  sent.by_layers = ranks.division.by_layers;
  ranks.outbox().put(sent);
  ranks.outbox().put_list(std::span<const uint32_t>(ranks.division.n_layers));
  ranks.send();
  ranks.has_model = true;
}

OnOtherRanks::~OnOtherRanks() {
  ranks_.outbox().put(Order::kUnload);
  ranks_.has_model = false;
}

void OnOtherRanks::opened(bool well) { wait_for_word(ranks_, well); }

std::vector<uint32_t> layers_by_speed(std::span<const float> gb_per_s, std::span<const float> memory, size_t n_layer,
                                      uint64_t layer_bytes) {
  const size_t n_ranks = gb_per_s.size();
  std::vector<uint32_t> most(n_ranks), n(n_ranks, 1);
  size_t n_room = 0;
  for (size_t r = 0; r < n_ranks; ++r) {  // 0 bytes: not known
    const double fit = memory[r] > 0 && layer_bytes > 0 ? double(memory[r]) / double(layer_bytes) : double(n_layer);
    most[r] = uint32_t(std::min(fit, double(n_layer)));
    n_room += most[r];
  }
  if (n_room < n_layer || n_layer < n_ranks || std::ranges::find(most, 0u) != most.end())
    fail(ErrorKind::kMemory,
         "the ranks have room for {} layers of {:.2f} GB, expected {}, and one at least on each: {}", n_room,
         double(layer_bytes) / 1e9, n_layer, fmt::join(most, ", "));
  // One after the other to whom it costs least: the time of the slowest is that of the pipeline.
  for (size_t left = n_layer - n_ranks; left > 0; --left) {
    size_t best = n_ranks;
    for (size_t r = 0; r < n_ranks; ++r)
      if (n[r] < most[r] && (best == n_ranks || float(n[r] + 1) / gb_per_s[r] < float(n[best] + 1) / gb_per_s[best]))
        best = r;
    ++n[best];
  }
  return n;
}

std::vector<uint32_t> layers_by_speed(Ranks& ranks, size_t n_layer, uint64_t layer_bytes, size_t n_threads) {
  ranks.outbox().put(Order::kMeasure);
  ranks.outbox().put(uint64_t{n_threads});
  ranks.send();
  std::vector<float> gb_per_s(ranks.shard().n), memory(ranks.shard().n);
  measure(ranks, n_threads, gb_per_s, memory);
  return layers_by_speed(gb_per_s, memory, n_layer, layer_bytes);
}

void follow(Ranks& ranks) {
  try {
    Part part;
    for (;;) {
      Message message = Message::receive(ranks.communicator());
      while (!message.at_end()) {
        switch (const auto order = message.get<Order>()) {
          case Order::kEnd: return;
          case Order::kMeasure: measure(ranks, message.get<uint64_t>(), {}, {}); break;
          case Order::kLoad: part.open(ranks, message); break;
          case Order::kUnload: part.close(); break;
          default: try { part.follower->obey(order, message);
            } catch (const Error& e) {
              if (e.kind() != ErrorKind::kInterrupted) throw;  // rank 0 stopped the step, and all with it
            }
        }
      }
    }
  } catch (const std::exception& e) {
    ranks.communicator().abort(e.what());
  }
}

}  // namespace hunch
