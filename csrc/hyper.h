/* Checks of hyper-parameters. Internal. */
#ifndef FO_HYPER_H
#define FO_HYPER_H

#include "fastopt.h"

/* Whether all are in their domains: FO_OK, FO_BAD_RULE, or FO_BAD_HYPER and *bad. If FO_OK, *held says whether
 * float32 surely holds them all. */
fo_status fo_check_domains(const fo_group *group, int *bad, int *held);

/* The first of these values of one hyper-parameter that is not in its domain, or count; 0 in *held if float32
 * may not hold them all. */
size_t fo_check_column(const fo_hyper_entry *entry, const double *values, size_t count, int *held);

/* Whether float32 holds a finite number: it is 0, or becomes neither 0 nor infinity. */
int fo_float32_holds(double x);

/* The first hyper-parameter of the group that float32 does not hold, or FO_HYPER_COUNT. grad_scale is
 * multiplied by scale. */
int fo_first_lost(const fo_group *group, double scale);

#endif
