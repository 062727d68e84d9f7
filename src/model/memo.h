/*
 * memo.h
 *		The texts that this process has encoded lately.
 */
#ifndef DS_MODEL_MEMO_H
#define DS_MODEL_MEMO_H

#include "model/model.h"

/*
 * The result for (text, version, side), or NULL; dims numbers that are good
 * until the next ds_memo_add().
 */
extern const float *ds_memo_find(DsModelKey key, DsSide side, const char *text, size_t length,
								 int *dims);
extern void ds_memo_add(DsModelKey key, DsSide side, const char *text, size_t length,
						const float *x, int dims);

#endif /* DS_MODEL_MEMO_H */
