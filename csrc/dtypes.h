/* One instruction set, given by FO_ISA and FO_VECTOR_BYTES: the template for both dtypes. */
#define FO_DTYPE f32
#define FO_DOUBLE 0
#include "simd.h"
#include "root.h"
#include FO_TEMPLATE
#undef FO_DTYPE
#undef FO_DOUBLE

#define FO_DTYPE f64
#define FO_DOUBLE 1
#include "simd.h"
#include "root.h"
#include FO_TEMPLATE
#undef FO_DTYPE
#undef FO_DOUBLE

#undef FO_ISA
#undef FO_VECTOR_BYTES
