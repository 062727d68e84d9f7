/*
 * memory.h
 *		How much memory a training may take.
 */
#ifndef DS_TRAIN_MEMORY_H
#define DS_TRAIN_MEMORY_H

#include "server.h"

/*
 * Bytes for what batches leave on their way through a network, of all processes together:
 * deepsearch.training_memory, or what the system says it has now; SIZE_MAX where it says nothing
 */
extern Size ds_training_memory(void);

#endif /* DS_TRAIN_MEMORY_H */
