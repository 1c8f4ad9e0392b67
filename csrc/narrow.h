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

/* Elements from begin up to end. */
void fo_step_narrow(const fo_narrow_step *how, const fo_tensor *tensor, size_t begin, size_t end);

#endif
