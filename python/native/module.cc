// The module hunch._native: the library in include/hunch/, for Python.
#include <pybind11/numpy.h>

#include "model.h"

namespace hunch::python {

void note_options(py::module_& m, const char* call, py::list names) {
  m.attr("_options").cast<py::dict>()[call] = std::move(names);
}

}  // namespace hunch::python

PYBIND11_MODULE(_native, m) {
  m.doc() = "hunch as C++ has it; import hunch instead.";
  // Now, and not when several threads want their first array: pybind11 would have one wait for the other's import of
  // numpy with Python's lock in hand.
  pybind11::dtype::of<float>();
  m.attr("__version__") = HUNCH_VERSION;
  m.attr("_options") = pybind11::dict();
  hunch::python::bind_errors(m);
  hunch::python::bind_model(m);
  hunch::python::bind_answers(m);
  hunch::python::bind_steps(m);
  hunch::python::bind_sessions(m);
  hunch::python::bind_values(m);
  hunch::python::bind_tools(m);
  hunch::python::bind_training(m);
}
