// A model among others, and what the files of Models share.
#pragma once
#include "serve/models.h"

namespace hunch::serve {

struct Models::Loaded {
  Loaded(Engine opened, const std::string& name, const Models& models, Metrics& metrics);
  Engine engine;
  Service service;
};

struct Models::Entry {
  ModelSource source = {};
  std::shared_ptr<Metrics> metrics = std::make_shared<Metrics>();
  std::shared_ptr<Loaded> loaded = {};
  bool is_loading = false;
  bool is_closing = false;  // it is unloaded when nobody holds it; who asks for it meanwhile waits
  size_t n_leases = 0;      // answers that it makes
  std::list<Waiter> waiting = {};
  double keep_seconds = -1;  // after the last of them; less than 0: until its room is needed
  Clock::time_point last_used = {}, last_asked = {};
  std::string failure = {};
  ModelWords words = {};
};

}  // namespace hunch::serve
