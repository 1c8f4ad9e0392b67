/* A step over buffers of any formats that compute in float32. Internal. */
#ifndef FO_NARROW_H
#define FO_NARROW_H

#include "kernel/kernel.h"

/* What is needed besides the tensor. */
typedef struct fo_narrow_step {
    fo_loop *loop;                /* for buffers of float32 */
    fo_narrow_loop *in_registers; /* for the tensor's formats, or NULL */
    const fo_loop_call *call;
    const fo_rule_info *info;
} fo_narrow_step;

/* The loop of a kernel that converts the formats of a tensor in registers, or NULL. */
fo_narrow_loop *fo_narrow_loop_of(const fo_kernel *kernel, const fo_rule_info *info,
                                  const fo_tensor *tensor);

enum { FO_TILE = 512 };

/* A line apart, so that buffers do not have the same addresses modulo 4096. */
typedef struct fo_tiles {
    float of[2 + FO_MAX_STATES][FO_TILE + 64 / sizeof(float)] __attribute__((aligned(64)));
} fo_tiles;

/* Where n <= FO_TILE elements of each buffer are from element i on: in place, or converted to float32 in tiles; NULL of a
 * state that is not there. A block begins at i, where a state has them. */
void fo_widen_tile(const fo_rule_info *info, const fo_tensor *tensor, size_t i, size_t n,
                   fo_tiles *tiles, void **at);

/* Elements from begin up to end. */
void fo_step_narrow(const fo_narrow_step *how, const fo_tensor *tensor, size_t begin, size_t end);

#endif
