/*
 * order.h
 *		Points in an order in which neighbours are near each other (private to
 *		this room).
 */
#ifndef DS_QUANT_ORDER_H
#define DS_QUANT_ORDER_H

#include "base/arena.h"
#include "base/status.h"

/*
 * place[n]: where each of points [n, d] comes, 0 .. n - 1.  It depends on the
 * points alone.  Scratch memory comes from the arena and is released.
 * DS_CANCELLED, DS_OUT_OF_MEMORY.
 */
extern DsCode ds_order_near(const float *points, uint32_t n, size_t d, const DsCancel *cancel,
							DsArena *arena, uint32_t *place, DsStatus *status);

#endif /* DS_QUANT_ORDER_H */
