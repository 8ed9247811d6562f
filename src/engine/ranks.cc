#include "engine/ranks.h"

#include <algorithm>
#include <map>
#include <optional>

#include "base/error.h"
#include "engine/context.h"

namespace hunch {
namespace {

struct SentOptions {
  uint64_t n_threads;
  RopeChoice rope;
  QuantisedAs quantised;
  NumaPolicy numa;
  uint64_t memory_top;
  double memory_gate;
  Precision precision;
  bool pin_threads, reblock_down, has_rope, by_layers, by_share, rounds_sums;
};

// On every rank; rank 0 gets all ranks' speeds [n_ranks].
void measure(Ranks& ranks, size_t n_threads, std::span<RankSpeed> speeds) {
  constexpr size_t kNumbers = sizeof(RankSpeed) / sizeof(float);
  const RankSpeed own = measure_rank_speed(n_threads);
  const std::vector<size_t> numbers_each(ranks.shard().n, kNumbers);
  ranks.communicator().gather({&own.bytes_per_s, kNumbers}, numbers_each,
                              {speeds.empty() ? nullptr : &speeds[0].bytes_per_s, speeds.size() * kNumbers});
}

bool wait_for_word(Ranks& ranks, bool word) {
  std::byte byte{word};
  ranks.communicator().broadcast({&byte, 1}, Wait::kIdle);  // models take long to open
  return byte != std::byte{0};
}

void send_path(Message& message, const std::filesystem::path& path) {
  message.put_text(path.empty() ? std::string() : std::filesystem::absolute(path).string());
}

// A model's part, and who computes with it.
class Part {
 public:
  explicit Part(Ranks& ranks) : ranks_(ranks) {}

  void obey(Order order, Message& message) {
    switch (order) {
      case Order::kLoad: return open(message);
      case Order::kUnload: return close();
      case Order::kLoadAdapter: return load_adapter(message);
      case Order::kDropAdapter: return void(adapters_.erase(message.get<uint32_t>()));
      default: try { follower_->obey(order, message);
        } catch (const Error& e) {
          if (e.kind() != ErrorKind::kInterrupted) throw;  // rank 0 stopped the step, and all with it
        }
    }
  }

 private:
  void open(Message& message) {
    const std::string path = message.get_text();
    const auto sent = message.get<SentOptions>();
    EngineOptions options;
    options.n_threads = sent.n_threads;
    options.pin_threads = sent.pin_threads;
    options.numa = sent.numa;
    options.reblock_down = sent.reblock_down;
    options.quantised = sent.quantised;
    options.precision = sent.precision;
    if (sent.has_rope) options.rope = sent.rope;
    options.memory = {message.get_text(), sent.memory_top, sent.memory_gate};
    options.sidecar = message.get_text();
    ranks_.division = {.by_layers = sent.by_layers, .by_share = sent.by_share, .rounds_sums = sent.rounds_sums};
    ranks_.division.n_layers = message.get_list<uint32_t>();
    options.ranks = &ranks_;
    if (!also([&] { engine_ = load_engine(path, options); })) return engine_.reset();
    FollowerHooks hooks;
    hooks.base_plan = [this](const PlanOrder& order) { return base_plan(order); };
    hooks.prepare = [this](const Plan& plan) { prepare_layouts(*engine_, plan); };
    hooks.adapter = [this](uint32_t number) { return adapters_.at(number).get(); };
    follower_.emplace(*engine_->model, *engine_->compute, std::move(hooks));
  }

  void load_adapter(Message& message) {
    const auto number = message.get<uint32_t>();
    std::vector<AdapterSource> sources(message.get<uint64_t>());
    for (AdapterSource& source : sources) {
      source.path = message.get_text();
      source.scale = message.get<float>();
    }
    if (!also([&] { adapters_[number] = engine_->load_adapter(sources); })) adapters_.erase(number);
  }

  // Does it while rank 0 does. False: rank 0 could not, and says why.
  bool also(const std::function<void()>& own) {
    std::string problem;
    try {
      own();
    } catch (const std::exception& e) {
      problem = e.what();
    }
    if (!wait_for_word(ranks_, true)) return false;
    if (!problem.empty()) fail(ErrorKind::kIo, "{}", problem);
    return true;
  }

  Plan base_plan(const PlanOrder& order) {
    Plan plan;
    const bool is_own = engine_->sidecar && engine_->sidecar->path == order.source.sidecar;
    if (order.name != "sparse" || is_own) {
      plan = *engine_->plan_named(order.name, order.source.density);
    } else {
      std::shared_ptr<const Sidecar>& sidecar = sidecars_[order.source.sidecar];
      if (!sidecar) sidecar = engine_->load_sidecar(order.source.sidecar);
      plan = sidecar->plan(engine_->config(), order.source.density);
    }
    if (!order.has_memory) plan.memory = nullptr;
    if (!order.prompts.empty()) plan.set_prompts(engine_->config(), prompt_patterns(*engine_, order.prompts));
    return plan;
  }

  void close() {
    follower_.reset();
    adapters_.clear();
    sidecars_.clear();
    engine_.reset();
  }

  Ranks& ranks_;
  std::optional<Engine> engine_;
  std::map<std::filesystem::path, std::shared_ptr<const Sidecar>> sidecars_;  // but the engine's own
  std::map<uint32_t, std::shared_ptr<const Adapter>> adapters_;
  std::optional<Follower> follower_;
};

}  // namespace

OnOtherRanks::OnOtherRanks(Ranks& ranks, const std::filesystem::path& path, const EngineOptions& options)
    : ranks_(ranks) {
  if (ranks.has_model())
    fail(ErrorKind::kUnsupported, "several ranks compute one model at a time, and have one; run it without mpirun");
  ranks.outbox().put(Order::kLoad);
  send_path(ranks.outbox(), path);
  SentOptions sent{};
  sent.n_threads = options.n_threads;
  sent.rope = options.rope.value_or(RopeChoice());
  sent.quantised = options.quantised;
  sent.memory_top = options.memory.top;
  sent.memory_gate = options.memory.gate;
  sent.precision = options.precision;
  sent.pin_threads = options.pin_threads;
  sent.numa = options.numa;
  sent.reblock_down = options.reblock_down;
  sent.has_rope = options.rope.has_value();
  sent.by_layers = ranks.division.by_layers;
  sent.by_share = ranks.division.by_share;
  sent.rounds_sums = ranks.division.rounds_sums;
  ranks.outbox().put(sent);
  send_path(ranks.outbox(), options.memory.path);
  send_path(ranks.outbox(), options.sidecar);
  ranks.outbox().put_list(std::span<const uint32_t>(ranks.division.n_layers));
  ranks.send();
  ranks.open_model();
}

OnOtherRanks::~OnOtherRanks() { ranks_.close_model(); }

void send_adapter(Ranks& ranks, uint32_t number, std::span<const AdapterSource> sources) {
  ranks.outbox().put(Order::kLoadAdapter);
  ranks.outbox().put(number);
  ranks.outbox().put(uint64_t{sources.size()});
  for (const AdapterSource& source : sources) {
    send_path(ranks.outbox(), source.path);
    ranks.outbox().put(source.scale);
  }
  ranks.send();
}

void on_all_ranks(Ranks& ranks, const std::function<void()>& own) {
  try {
    own();
  } catch (...) {
    wait_for_word(ranks, false);
    throw;
  }
  wait_for_word(ranks, true);
}

std::vector<RankSpeed> measure_ranks(Ranks& ranks, size_t n_threads) {
  ranks.outbox().put(Order::kMeasure);
  ranks.outbox().put(uint64_t{n_threads});
  ranks.send();
  std::vector<RankSpeed> speeds(ranks.shard().n);
  measure(ranks, n_threads, speeds);
  return speeds;
}

void follow(Ranks& ranks) {
  try {
    Part part(ranks);
    for (;;) {
      Message message = Message::receive(ranks.communicator());
      while (!message.at_end()) {
        const auto order = message.get<Order>();
        if (order == Order::kEnd) return;
        if (order == Order::kMeasure) {
          measure(ranks, message.get<uint64_t>(), {});
        } else {
          part.obey(order, message);
        }
      }
    }
  } catch (const std::exception& e) {
    ranks.communicator().abort(e.what());
  }
}

}  // namespace hunch
