/*
 * evaluate.h
 *		What the functions of this room share.
 */
#ifndef DS_EVALUATE_H
#define DS_EVALUATE_H

#include "eval/metrics.h"

/* Check arguments that several functions have: an error that says what is wrong. */
extern size_t ds_check_k(int k);
extern DsGain ds_check_gain(const char *name);

#endif /* DS_EVALUATE_H */
