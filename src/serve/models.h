// The models of one server: loaded when somebody asks for one, unloaded when another needs the room or nobody has asked
// for a while.
#pragma once
#include <atomic>
#include <condition_variable>
#include <deque>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "serve/job.h"
#include "serve/lease.h"
#include "serve/metrics.h"
#include "serve/model_source.h"
#include "serve/service.h"

namespace hunch::serve {

struct ModelsOptions {
  std::vector<ModelSource> sources;  // named one by one
  std::filesystem::path folder;      // and those in here; looked at again when somebody asks what there is
  std::vector<std::pair<std::string, std::string>> aliases;  // another name, and whose it is
  bool any_name = false;                                     // the first one is meant, whatever a request says
  size_t n_most = 4;                                         // loaded at once; 0: any number
  double idle_seconds = 0;                                   // after which one is unloaded; 0: never
  bool may_unload = false;                                   // when a client says so
  size_t n_queue = 64;                                       // requests that may wait for models
  size_t queue_bytes = 64 << 20;                             // of their bodies
  ServiceOptions service = {};                               // of each, but for its name
  // Opens one, on a thread of the server's; ends early when the stop is requested.
  std::function<Engine(const ModelSource&, const Stop*)> open;
  std::function<void(const std::string&)> say = {};  // what was loaded and unloaded; from another thread
};

// What there is to say of a model, be it loaded or not.
struct ModelState {
  enum class Kind : uint8_t { kUnloaded, kLoading, kLoaded };
  ModelSource source;
  Kind kind = Kind::kUnloaded;
  std::string failure = {};  // of the last time that it was to be loaded; "": none
  ModelWords words = {};     // Service::words(), of the last time that it was loaded
  double idle_seconds = 0;   // until it is unloaded; less than 0: never
  std::shared_ptr<const Metrics> metrics = {};
};

class Models {
 public:
  // The responses outlive it. Throws as models_in(), Error{kUsage} for an alias of what is not there.
  Models(ModelsOptions options, StoredResponses& responses);
  // Ends all jobs.
  ~Models();

  // The first source was opened already; it stays loaded with the lease. Throws as Service.
  struct First {
    const Service& service;
    Lease lease;
  };
  First begin_with(Engine engine);

  // How a request uses a model.
  struct Use {
    std::string name;                         // as it says; "": it says none
    size_t n_bytes = 0;                       // that wait with it
    std::optional<double> keep_seconds = {};  // it stays loaded for so long; less than 0: until its room is needed
    bool loads = true;                        // else a model that is not loaded is an error
  };
  using Call = std::function<void(Service&, const std::shared_ptr<Reply>&)>;
  // Calls with the model's service and a reply that keeps it loaded: at once where it is loaded, else on a thread of
  // this when it is; then what the call throws, or why the model cannot be loaded, is answered in the form of
  // `dialect`. Throws RequestError{404} for a model that there is not, {400} for none where several are meant, {429}
  // where too many wait, {503} when the server ends.
  void use(const Use& use, Dialect dialect, const std::shared_ptr<Reply>& reply, const Call& call);
  // It is unloaded when its answers are made. Throws as use(), and RequestError{400} where clients may not say so.
  void unload(const std::string& name);

  std::vector<ModelState> states();
  ModelState state(const std::string& name);  // throws as use()
  const ModelsOptions& options() const { return options_; }

  // Nothing is taken or loaded any more; what runs goes on.
  void drain();
  // What runs ends at the next step.
  void stop();
  // Whether all is done, after at most so long.
  bool wait_until_idle(double seconds);
  // Ends all jobs. What answers refer to stays until the end of this.
  void close();

 private:
  struct Loaded;
  struct Waiter {
    std::shared_ptr<Reply> reply;
    Dialect dialect;
    Call call;
    size_t n_bytes;
    std::shared_ptr<std::atomic<bool>> gone;  // its client is
  };
  struct Entry;
  using Guard = std::unique_lock<std::mutex>;

  void add(ModelSource source);
  void refresh();
  Entry* find(const std::string& name);
  Entry& entry(const std::string& name);
  std::vector<std::shared_ptr<Loaded>> all_loaded();
  ModelState state_of(const Entry& entry) const;
  Lease lease(Entry& entry);
  bool use_now(const Use& use, Guard& guard, Entry& entry, const std::shared_ptr<Reply>& reply, const Call& call);
  void forget(const std::shared_ptr<std::atomic<bool>>& gone);
  double keep_seconds(std::optional<double> asked) const;
  std::optional<Clock::time_point> expires(const Entry& entry) const;
  // Of the thread.
  void run();
  Entry* next_to_load();
  Entry* next_to_unload();
  Entry* next_to_make_room(bool idle_ones);
  bool make_room(Guard& guard);
  void load(Guard& guard, Entry& entry);
  std::exception_ptr try_to_load(Guard& guard, Entry& entry);
  void answer_waiting(Guard& guard, Entry& entry);
  void refuse_waiting(Guard& guard, Entry& entry, const RequestError& error);
  std::list<Waiter> take_waiting(Entry& entry);
  void unload(Guard& guard, Entry& entry);

  const ModelsOptions options_;
  StoredResponses& responses_;
  const std::shared_ptr<Turns> turns_ = std::make_shared<Turns>();
  Stop stop_loading_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::list<Entry> entries_;    // at places that stay
  std::deque<Entry*> to_load_;  // in the order in which they were first asked for
  size_t n_waiting_ = 0, waiting_bytes_ = 0;
  bool ends_ = false;
  std::thread thread_;  // last: it begins when all else is there
};

}  // namespace hunch::serve
