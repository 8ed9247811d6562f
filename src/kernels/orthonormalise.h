// An orthonormal basis of rows.
#pragma once
#include "base/view.h"

namespace hunch {

// Makes the rows orthonormal (Gram-Schmidt, twice). Rows that depend on earlier ones become zero.
void orthonormalise(MatView<float> rows);

}  // namespace hunch
