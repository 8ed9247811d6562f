#include "serve/models.h"

#include <algorithm>

#include "base/error.h"
#include "serve/models_entry.h"

namespace hunch::serve {
namespace {

// Who says more, says for good: a clock ends after 292 years.
constexpr double kMostSeconds = 1e9;

}  // namespace

Models::Models(ModelsOptions options, StoredResponses& responses)
    : options_(std::move(options)), responses_(responses) {
  for (const ModelSource& source : options_.sources) add(source);
  if (!options_.folder.empty())
    for (ModelSource& source : models_in(options_.folder)) add(std::move(source));
  for (const auto& [alias, name] : options_.aliases)
    if (!find(name))
      fail(ErrorKind::kUsage, "'{}' is to be another name (alias) of '{}', which is none of the models here", alias,
           name);
  thread_ = std::thread([this] { run(); });
}

Models::~Models() { close(); }

// Of two with one name the later is called by its file's.
void Models::add(ModelSource source) {
  if (std::ranges::any_of(entries_, [&](const Entry& e) { return e.source.name == source.name; })) {
    source.name = source.path.filename().string();
    if (find(source.name)) return;
  }
  for (const auto& [alias, name] : options_.aliases)
    if (name == source.name) source.aliases.push_back(alias);
  entries_.emplace_back().source = std::move(source);
}

// What is in the folder now. What is gone from it and not loaded is forgotten.
void Models::refresh() {
  if (options_.folder.empty() || ends_) return;
  std::vector<ModelSource> found;
  try {
    found = models_in(options_.folder);
  } catch (const Error&) {  // it was there at the start: what was in it may come back
    return;
  }
  const auto has = [](const auto& sources, const Entry& e) {
    return std::ranges::find(sources, e.source.path, &ModelSource::path) != sources.end();
  };
  for (const ModelSource& source : found)
    if (std::ranges::none_of(entries_, [&](const Entry& e) { return e.source.path == source.path; })) add(source);
  std::erase_if(entries_, [&](const Entry& e) {
    return !e.loaded && !e.is_loading && e.waiting.empty() && !std::ranges::count(to_load_, &e) && !has(found, e) &&
           !has(options_.sources, e);
  });
}

Models::Entry* Models::find(const std::string& name) {
  const auto found = std::ranges::find_if(entries_, [&](const Entry& e) { return e.source.is_named(name); });
  return found == entries_.end() ? nullptr : &*found;
}

Models::Entry& Models::entry(const std::string& name) {
  if (options_.any_name) return entries_.front();
  Entry* found = find(name);
  if (!found) {
    refresh();
    found = find(name);
  }
  if (found) return *found;
  if (name.empty() && entries_.size() == 1) return entries_.front();
  std::vector<std::string> names;
  for (const Entry& e : entries_) names.push_back(e.source.name);
  const std::string expected =
      names.empty() ? "none: the folder of models is empty" : fmt::format("{}", fmt::join(names, ", "));
  if (name.empty()) refuse("model", "'model' is missing, expected {}", expected);
  throw RequestError(404, fmt::format("there is no model '{}', expected {}", name, expected), "model",
                     "model_not_found");
}

ModelState Models::state_of(const Entry& e) const {
  ModelState s{e.source};
  s.kind = e.is_loading ? ModelState::Kind::kLoading
           : e.loaded   ? ModelState::Kind::kLoaded
                        : ModelState::Kind::kUnloaded;
  s.failure = e.failure;
  s.words = e.words;
  s.metrics = e.metrics;
  s.idle_seconds = e.keep_seconds;
  if (const auto end = expires(e)) s.idle_seconds = std::max(0.0, seconds_between(Clock::now(), *end));
  return s;
}

std::vector<ModelState> Models::states() {
  const Guard guard(mutex_);
  refresh();
  std::vector<ModelState> out;
  for (const Entry& e : entries_) out.push_back(state_of(e));
  return out;
}

ModelState Models::state(const std::string& name) {
  const Guard guard(mutex_);
  return state_of(entry(name));
}

Models::First Models::begin_with(Engine engine) {
  Entry& first = entries_.front();
  auto loaded = std::make_shared<Loaded>(std::move(engine), first.source.name, *this, *first.metrics);
  const Guard guard(mutex_);
  first.words = loaded->service.words();
  first.keep_seconds = keep_seconds({});
  first.last_used = Clock::now();
  first.loaded = std::move(loaded);
  return {first.loaded->service, lease(first)};
}

// As Use::keep_seconds, where that is not said too.
double Models::keep_seconds(std::optional<double> asked) const {
  const double seconds = asked.value_or(options_.idle_seconds > 0 ? options_.idle_seconds : -1);
  return seconds > kMostSeconds ? -1 : seconds;
}

// Under the lock; ends without it.
Lease Models::lease(Entry& e) {
  ++e.n_leases;
  return Lease([this, &e] {
    {
      const Guard guard(mutex_);
      --e.n_leases;
      e.last_used = Clock::now();
    }
    changed_.notify_all();
  });
}

// Where it is loaded: calls, without the lock.
bool Models::use_now(const Use& use, Guard& guard, Entry& e, const std::shared_ptr<Reply>& reply, const Call& call) {
  if (ends_) throw shutting_down();
  e.keep_seconds = keep_seconds(use.keep_seconds);
  e.last_used = e.last_asked = Clock::now();
  if (!e.loaded || e.is_closing) return false;
  Service& service = e.loaded->service;
  const auto own = std::make_shared<LeasedReply>(reply, lease(e));
  guard.unlock();
  call(service, own);
  return true;
}

void Models::use(const Use& use, Dialect dialect, const std::shared_ptr<Reply>& reply, const Call& call) {
  {
    Guard guard(mutex_);
    Entry& e = entry(use.name);
    if (use_now(use, guard, e, reply, call)) return;
    if (!use.loads)
      throw RequestError(400, fmt::format("the model '{}' is not loaded", e.source.name), "model", "model_not_loaded");
  }
  // Before it waits: the call may say anew what happens when the client goes away.
  const auto gone = std::make_shared<std::atomic<bool>>(false);
  reply->when_gone([this, gone] { forget(gone); });
  Guard guard(mutex_);
  if (*gone) return;  // meanwhile; nobody would take it out of the queue
  Entry& e = entry(use.name);
  if (use_now(use, guard, e, reply, call)) return;
  if (n_waiting_ >= options_.n_queue)
    throw RequestError(429, fmt::format("{} requests are waiting for models already, try again later", n_waiting_), {},
                       "queue_full");
  if (waiting_bytes_ > 0 && waiting_bytes_ + use.n_bytes > options_.queue_bytes)
    throw RequestError(503, "too many large requests are waiting for models already, try again later");
  ++n_waiting_;
  waiting_bytes_ += use.n_bytes;
  e.waiting.push_back({reply, dialect, call, use.n_bytes, gone});
  if (!e.is_loading && !std::ranges::count(to_load_, &e)) to_load_.push_back(&e);
  guard.unlock();
  changed_.notify_all();
}

// Who waited went away.
void Models::forget(const std::shared_ptr<std::atomic<bool>>& gone) {
  *gone = true;
  std::list<Waiter> out;  // replies end without the lock
  const Guard guard(mutex_);
  for (Entry& e : entries_)
    for (auto it = e.waiting.begin(); it != e.waiting.end();) {
      const auto next = std::next(it);
      if (it->gone == gone) {
        --n_waiting_;
        waiting_bytes_ -= it->n_bytes;
        out.splice(out.end(), e.waiting, it);
      }
      it = next;
    }
}

void Models::unload(const std::string& name) {
  const Guard guard(mutex_);
  Entry& e = entry(name);
  if (!options_.may_unload) throw RequestError(400, "this server's model stays loaded", "model");
  if (e.loaded) e.is_closing = true;
  changed_.notify_all();
}

// Schedulers are not called under the lock: they let go of jobs, and so of leases, under one of their own.
std::vector<std::shared_ptr<Models::Loaded>> Models::all_loaded() {
  const Guard guard(mutex_);
  std::vector<std::shared_ptr<Loaded>> out;
  for (const Entry& e : entries_)
    if (e.loaded) out.push_back(e.loaded);
  return out;
}

void Models::drain() {
  stop_loading_.request();
  {
    const Guard guard(mutex_);
    ends_ = true;
  }
  changed_.notify_all();
  for (const auto& loaded : all_loaded()) loaded->service.scheduler().drain();
}

void Models::stop() {
  for (const auto& loaded : all_loaded()) loaded->service.scheduler().stop();
}

bool Models::wait_until_idle(double seconds) {
  const auto end = Clock::now() + std::chrono::duration<double>(seconds);
  for (;;) {
    bool is_loading = false;
    {
      const Guard guard(mutex_);
      is_loading = std::ranges::any_of(entries_, [](const Entry& e) { return e.is_loading || !e.waiting.empty(); });
    }
    if (!is_loading && std::ranges::all_of(all_loaded(), [](const auto& loaded) {
          return loaded->service.scheduler().wait_until_idle(0);
        }))
      return true;
    if (Clock::now() >= end) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
}

void Models::close() {
  if (!thread_.joinable()) return;
  drain();
  thread_.join();
  for (Entry& e : entries_)
    if (e.loaded) e.loaded->service.close();
}

}  // namespace hunch::serve
