// What C++ computed as numpy's arrays, which own it: nothing is copied, and nothing else has to stay alive.
#pragma once
#include <pybind11/numpy.h>

#include <initializer_list>
#include <utility>
#include <vector>

namespace hunch::python {

namespace py = pybind11;

// [shape] of the vector's values, as numpy's `dtype`, whose items are as large as T.
template <class T>
py::array array_of(std::vector<T> values, std::initializer_list<py::ssize_t> shape, const py::dtype& dtype) {
  auto kept = std::make_unique<std::vector<T>>(std::move(values));
  T* const data = kept->data();
  const py::capsule owner(kept.get(), [](void* all) { delete static_cast<std::vector<T>*>(all); });
  kept.release();
  return py::array(dtype, py::array::ShapeContainer(shape), data, owner);
}

template <class T>
py::array array_of(std::vector<T> values, std::initializer_list<py::ssize_t> shape) {
  return array_of(std::move(values), shape, py::dtype::of<T>());
}

}  // namespace hunch::python
