#include "hunch/cancel.h"

#include "base/stop.h"

namespace hunch {

Cancel::Cancel() : stop_(std::make_unique<Stop>()) {}
Cancel::~Cancel() = default;
void Cancel::request() noexcept { stop_->request(); }
void Cancel::clear() noexcept { stop_->clear(); }
bool Cancel::requested() const noexcept { return stop_->requested(); }

}  // namespace hunch
