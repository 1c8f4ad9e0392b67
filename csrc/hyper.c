/* Whether hyper-parameters are in their domains, and whether float32 can hold them. */
#include "build.h"

#include "hyper.h"

#include <math.h>

/* Half of the smallest subnormal still rounds to 0; half a unit above the largest number, to infinity. Numbers
 * are only compared with these, since a conversion that overflows could trap. */
static const double last_zero = 0x1p-150, first_infinity = 0x1.ffffffp127;

/* By fo_hyper_index. */
static const unsigned char domains[] = {
#define FO_HYPER(name, domain) domain,
#include "rules.def"
};

int fo_float32_holds(double x)
{
    x = fabs(x);
    return x == 0 || (x > last_zero && x < first_infinity);
}

/* Whether the value is in the domain; 0 in *held if float32 may not hold it. */
static inline int is_in_domain(const fo_hyper_entry *entry, double value, int *held)
{
    int right = 0;
    switch ((fo_domain)domains[entry->index]) {
    case FO_FINITE:
        right = isfinite(value);
        *held &= fo_float32_holds(value);
        break;
    case FO_NONNEGATIVE:
        /* Mostly float32 holds it too, and no other test is needed. */
        right = value == 0 || (value > last_zero && value < first_infinity);
        if (!right) {
            right = isfinite(value) && value > 0;
            *held = 0;
        }
        break;
    case FO_FRACTION:
        right = value == 0 || (value > last_zero && value < 1);
        if (!right) {
            right = value > 0 && value < 1;
            *held = 0;
        }
        break;
    case FO_FLAG:
        right = value == 0 || value == 1;
        break;
    }
    return entry->scope == FO_FIXED ? value == entry->value : right;
}

fo_status fo_check_domains(const fo_group *group, int *bad, int *held)
{
    const fo_rule_info *info = fo_rule_describe(group->rule);
    if (!info)
        return FO_BAD_RULE;
    *held = 1;
    for (int i = 0; i < info->hyper_count; i++) {
        const fo_hyper_entry *entry = &info->hypers[i];
        if (!is_in_domain(entry, ((const double *)&group->hyper)[entry->index], held)) {
            if (bad)
                *bad = entry->index;
            return FO_BAD_HYPER;
        }
    }
    return FO_OK;
}

size_t fo_check_column(const fo_hyper_entry *entry, const double *values, size_t count, int *held)
{
    for (size_t i = 0; i < count; i++)
        if (!is_in_domain(entry, values[i], held))
            return i;
    return count;
}

fo_status fo_check_hyper_abi(uint64_t abi, const fo_group *group, int *bad)
{
    int held;
    return abi == FO_ABI ? fo_check_domains(group, bad, &held) : FO_BAD_VERSION;
}

int fo_first_lost(const fo_group *group, double scale)
{
    const fo_rule_info *info = fo_rule_describe(group->rule);
    for (int i = 0; i < info->hyper_count; i++) {
        const fo_hyper_index index = info->hypers[i].index;
        const double value = ((const double *)&group->hyper)[index];
        if (!fo_float32_holds(index == FO_grad_scale ? value * scale : value))
            return (int)index;
    }
    return FO_HYPER_COUNT;
}
