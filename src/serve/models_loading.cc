// The thread that loads and unloads: one model at a time, in the order in which they were asked for.
#include <algorithm>
#include <tuple>
#ifdef __GLIBC__
#include <malloc.h>
#endif

#include "base/error.h"
#include "base/timer.h"
#include "serve/models_entry.h"

namespace hunch::serve {
namespace {

ServiceOptions options_of(const ModelsOptions& all, const std::string& name, std::shared_ptr<Turns> turns) {
  ServiceOptions own = all.service;
  own.model_name = name;
  own.scheduler.turns = std::move(turns);
  return own;
}

Engine without_stop(Engine engine) {
  engine.compute->stop = nullptr;  // answers end by their own stops
  return engine;
}

void replace_all(std::string& text, const std::string& from, const std::string& to) {
  if (from.empty()) return;
  for (size_t at = 0; (at = text.find(from, at)) != text.npos; at += to.size()) text.replace(at, from.size(), to);
}

// What clients are told: the cause, and no path of this machine.
RequestError load_error(std::exception_ptr error, const ModelSource& source) {
  std::string cause = "internal error";
  int status = 500;
  try {
    std::rethrow_exception(error);
  } catch (const RequestError& e) {
    return e;
  } catch (const Error& e) {
    if (e.kind() == ErrorKind::kInterrupted) return shutting_down();
    if (e.kind() == ErrorKind::kMemory) status = 503;
    cause = e.what();
  } catch (const std::bad_alloc&) {
    status = 503;
    cause = "not enough memory";
  } catch (...) {
  }
  replace_all(cause, source.path.string(), source.path.filename().string());
  replace_all(cause, source.path.parent_path().string() + "/", "");
  return RequestError(status, fmt::format("the model '{}' cannot be loaded: {}", source.name, cause), "model",
                      "model_load_failed");
}

bool is_lack_of_memory(std::exception_ptr error) {
  try {
    std::rethrow_exception(error);
  } catch (const Error& e) {
    return e.kind() == ErrorKind::kMemory;
  } catch (const std::bad_alloc&) {
    return true;
  } catch (...) {
    return false;
  }
}

}  // namespace

Models::Loaded::Loaded(Engine opened, const std::string& name, const Models& models, Metrics& metrics)
    : engine(without_stop(std::move(opened))),
      service(engine, options_of(models.options_, name, models.turns_), metrics, models.responses_) {}

// When it is unloaded, where nothing else happens; nothing while it is used or for good.
std::optional<Clock::time_point> Models::expires(const Entry& e) const {
  if (!e.loaded || e.n_leases > 0 || e.keep_seconds < 0) return std::nullopt;
  return e.last_used + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(e.keep_seconds));
}

Models::Entry* Models::next_to_unload() {
  const auto now = Clock::now();
  const auto found = std::ranges::find_if(entries_, [&](const Entry& e) {
    const auto end = expires(e);
    return (end && *end <= now) || (e.loaded && e.is_closing && e.n_leases == 0);
  });
  return found == entries_.end() ? nullptr : &*found;
}

// Those for whom nobody waits any more are not loaded.
Models::Entry* Models::next_to_load() {
  std::erase_if(to_load_, [](const Entry* e) { return e->waiting.empty(); });
  const auto found = std::ranges::find_if(to_load_, [](const Entry* e) { return !e->loaded; });
  return found == to_load_.end() ? nullptr : *found;
}

// The one that was used last before all others; those that were to be kept for good are the last.
Models::Entry* Models::next_to_make_room(bool idle_ones) {
  Entry* best = nullptr;
  const auto rank = [](const Entry& e) { return std::tuple(e.keep_seconds < 0, e.last_asked); };
  for (Entry& e : entries_)
    if (e.loaded && !e.is_closing && (e.n_leases == 0 || !idle_ones) && (!best || rank(e) < rank(*best))) best = &e;
  return best;
}

// Whether one more may be loaded. A model that is asked for all the time would never be idle: where none is, the one
// that was used last before the others takes nothing more, and makes room when what it answers is done.
bool Models::make_room(Guard& guard) {
  const auto is_loaded = [](const Entry& e) { return e.loaded != nullptr; };
  while (options_.n_most > 0 && size_t(std::ranges::count_if(entries_, is_loaded)) >= options_.n_most) {
    if (Entry* idle = next_to_make_room(true)) {
      unload(guard, *idle);
      continue;
    }
    if (std::ranges::none_of(entries_, [](const Entry& e) { return e.loaded && e.is_closing; }))
      next_to_make_room(false)->is_closing = true;
    return false;
  }
  return true;
}

void Models::run() {
  Guard guard(mutex_);
  while (!ends_) {
    if (Entry* e = next_to_unload()) {
      unload(guard, *e);
      continue;
    }
    if (Entry* e = next_to_load(); e && make_room(guard)) {
      if (!ends_ && !e->waiting.empty()) load(guard, *e);
      continue;
    }
    std::optional<Clock::time_point> first;
    for (const Entry& e : entries_)
      if (const auto end = expires(e); end && (!first || *end < *first)) first = end;
    if (first)
      changed_.wait_until(guard, *first);
    else
      changed_.wait(guard);
  }
  for (Entry& e : entries_) refuse_waiting(guard, e, shutting_down());
}

// Without the lock. What went wrong, or nothing.
std::exception_ptr Models::try_to_load(Guard& guard, Entry& e) {
  std::exception_ptr error;
  std::shared_ptr<Loaded> loaded;
  guard.unlock();
  try {
    loaded = std::make_shared<Loaded>(options_.open(e.source, &stop_loading_), e.source.name, *this, *e.metrics);
  } catch (...) {
    error = std::current_exception();
  }
  guard.lock();
  if (!error && ends_) error = std::make_exception_ptr(shutting_down());
  if (error) {
    guard.unlock();
    loaded.reset();
    guard.lock();
    return error;
  }
  e.words = loaded->service.words();
  e.loaded = std::move(loaded);
  return nullptr;
}

void Models::load(Guard& guard, Entry& e) {
  std::erase(to_load_, &e);
  e.is_loading = true;
  const Timer timer;
  std::exception_ptr error = try_to_load(guard, e);
  while (error && is_lack_of_memory(error) && !ends_) {  // others may have what it needs
    Entry* const idle = next_to_make_room(true);
    if (!idle) break;
    unload(guard, *idle);
    error = try_to_load(guard, e);
  }
  e.is_loading = false;
  e.last_used = Clock::now();
  e.failure.clear();
  if (!error) {
    if (options_.say) options_.say(fmt::format("loaded {} in {:.0f} ms", e.source.name, timer.ms()));
    return answer_waiting(guard, e);
  }
  const RequestError shown = load_error(error, e.source);
  if (!ends_) e.failure = shown.what();
  if (options_.say) options_.say(shown.what());
  refuse_waiting(guard, e, shown);
}

std::list<Models::Waiter> Models::take_waiting(Entry& e) {
  for (const Waiter& waiter : e.waiting) {
    --n_waiting_;
    waiting_bytes_ -= waiter.n_bytes;
  }
  return std::exchange(e.waiting, {});
}

void Models::answer_waiting(Guard& guard, Entry& e) {
  std::list<Waiter> waiting = take_waiting(e);
  Service& service = e.loaded->service;
  for (Waiter& waiter : waiting) waiter.reply = std::make_shared<LeasedReply>(waiter.reply, lease(e));
  guard.unlock();
  for (const Waiter& waiter : waiting) {
    if (*waiter.gone) continue;
    try {
      waiter.call(service, waiter.reply);
    } catch (...) {
      waiter.reply->send(error_response(as_request_error(std::current_exception()), waiter.dialect));
    }
  }
  waiting.clear();
  guard.lock();
}

void Models::refuse_waiting(Guard& guard, Entry& e, const RequestError& error) {
  std::list<Waiter> waiting = take_waiting(e);
  guard.unlock();
  for (const Waiter& waiter : waiting) {
    waiter.reply->note("error", std::string(error.what()).substr(0, 300));
    waiter.reply->send(error_response(error, waiter.dialect));
  }
  waiting.clear();
  guard.lock();
}

void Models::unload(Guard& guard, Entry& e) {
  std::shared_ptr<Loaded> loaded = std::move(e.loaded);
  const std::shared_ptr<Metrics> metrics = e.metrics;  // without it the entry may be forgotten meanwhile
  const std::string name = e.source.name;
  e.is_closing = false;
  guard.unlock();
  loaded.reset();  // texts may go to the disk first
#ifdef __GLIBC__
  malloc_trim(0);  // the allocator would keep much of it
#endif
  if (options_.say) options_.say(fmt::format("unloaded {}", name));
  guard.lock();
}

}  // namespace hunch::serve
