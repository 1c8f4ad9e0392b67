/* A step over buffers of any formats that compute in float32. Internal. */
#ifndef FO_TILE_H
#define FO_TILE_H

#include "kernel/kernel.h"

/* Elements from begin up to end. loop is the one for buffers of float32. */
void fo_step_in_tiles(fo_loop *loop, const fo_loop_call *call, const fo_rule_info *info,
                      const fo_tensor *tensor, size_t begin, size_t end);

#endif
