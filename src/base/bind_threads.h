// Threads of a pool on the processors that are meant for them.
#pragma once
#include "base/numa.h"
#include "base/thread_pool.h"

namespace hunch {

// task(i) once on every thread i of the pool, which all wait for each other first, so that nobody takes another one's.
// False: they did not come together within seconds, and some other thread may have done it.
bool on_every_thread(ThreadPool& pool, const std::function<void(size_t)>& task);

// Thread i of the pool may from now on run on places.cpus[i] alone (none: as before), with `pin` on one of them. The
// caller is thread 0. As on_every_thread().
bool bind_threads(ThreadPool& pool, const ThreadPlaces& places, bool pin = false);

}  // namespace hunch
