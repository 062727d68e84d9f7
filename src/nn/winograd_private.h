/*
 * winograd_private.h
 *		Sizes of the blocks of Winograd's convolutions; for its own files only.
 */
#ifndef DS_NN_WINOGRAD_PRIVATE_H
#define DS_NN_WINOGRAD_PRIVATE_H

#define DS_WINOGRAD_DEPTH ((size_t) 64) /* inputs of a product at a time */
#define DS_WINOGRAD_WIDTH ((size_t) 48) /* outputs */
#define DS_WINOGRAD_GAP ((size_t) 16) /* so that the 36 matrices are not pages apart */

#endif /* DS_NN_WINOGRAD_PRIVATE_H */
