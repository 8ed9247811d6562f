// hunch::Error as Python's exceptions (hunch/errors.py).
#include <hunch/error.h>

#include "model.h"

namespace hunch::python {
namespace {

const char* class_of(hunch::ErrorKind kind) {
  using enum hunch::ErrorKind;
  switch (kind) {
    case kUsage: return "UsageError";
    case kFormat: return "FormatError";
    case kUnsupported: return "UnsupportedError";
    case kNotFound: return "NotFoundError";
    case kIo: return "IoError";
    case kNetwork: return "NetworkError";
    case kMemory: return "OutOfMemoryError";
    case kLimit: return "LimitError";
    case kInterrupted: return "InterruptedCallError";
  }
  return "Error";
}

void translate(std::exception_ptr thrown) {
  try {
    if (thrown) std::rethrow_exception(thrown);
  } catch (const hunch::Error& e) {
    const py::object type = py::module_::import("hunch.errors").attr(class_of(e.kind()));
    PyErr_SetObject(type.ptr(), text_of(e.what()).ptr());
  }
}

}  // namespace

void bind_errors(py::module_&) { py::register_exception_translator(translate); }

}  // namespace hunch::python
