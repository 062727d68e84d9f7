/*
 * minhash.h
 *		Which texts are nearly the same?  Shingles, MinHash, banding.
 *
 * A text is taken for the set of its shingles: all runs of `size` characters,
 * or words, that follow each other in it.  Two texts resemble each other as
 * their sets do, by the coefficient of Jaccard, |A and B| / |A or B| (Broder,
 * "On the resemblance and containment of documents", SEQUENCES 1997).
 * Comparing every text with every other would take n^2 / 2 comparisons, so
 * candidates are found first:
 *
 *   1. MinHash.  For a random hash function the smallest value over A is equal
 *      to the smallest over B with a probability of the resemblance s, because
 *      the smallest of "A or B" is any of its elements with the same chance
 *      (Broder, ibid.).  Functions: the upper half of a x + b modulo 2^64, a
 *      odd (Dietzfelbinger et al., "A reliable randomized algorithm for the
 *      closest-pair problem", J. Algorithms 1997), over well mixed x.
 *   2. Banding.  `rows` such minima together are a band: two texts agree in all
 *      of a band with probability s^rows, and in at least one of `bands` bands
 *      with 1 - (1 - s^rows)^bands (Indyk and Motwani, STOC 1998; Leskovec,
 *      Rajaraman and Ullman, Mining of Massive Datasets, 3.4).  Texts that
 *      agree in a band are candidates.
 *   3. Each pair of candidates is compared exactly.
 *
 * So no pair is reported that is not similar enough, and one that is may be
 * missed with a probability that is chosen beforehand.  For example: with a
 * threshold of 0.8 and a recall of 0.999, 18 bands of 5 rows; a pair of
 * similarity 0.8 is a candidate with probability 0.9992, one of 0.4 with 0.17.
 *
 * Shingles are known by 64-bit hashes.  Two different ones have the same with
 * probability 2^-64, which is taken for never.
 */
#ifndef DS_MINHASH_H
#define DS_MINHASH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

/* minima of a text, at most */
#define DS_MINHASH_MAX 128

typedef enum DsShingleKind
{
	DS_SHINGLE_CHARACTERS,
	DS_SHINGLE_WORDS /* that spaces separate */
} DsShingleKind;

/*
 * The shingles of text[length], which ds_clean() has cleaned, sorted, each
 * once: their number, at most ds_shingles_bound(length).  A text that is
 * shorter than a shingle is one; an empty text has none.  size > 0
 */
extern size_t ds_shingles(DsShingleKind kind, uint32_t size, const char *text, size_t length,
						  uint64_t *out);

extern size_t ds_shingles_bound(size_t length);

/* |A and B| / |A or B| of two sets as ds_shingles() makes them; not both empty */
extern double ds_jaccard(const uint64_t *a, size_t na, const uint64_t *b, size_t nb);

typedef struct DsBanding
{
	uint32_t rows; /* minima a band */
	uint32_t bands;
} DsBanding;

/*
 * The most selective banding (the largest number of rows) that finds a pair of
 * a similarity of threshold with a probability of recall at least, with no
 * more than DS_MINHASH_MAX minima.  0 < threshold <= 1, 0 < recall < 1, else
 * DS_INVALID; DS_INVALID too where the threshold is too low for it.
 */
extern DsCode ds_banding_choose(double threshold, double recall, DsBanding *banding,
								DsStatus *status);

typedef struct DsMinHash
{
	DsBanding banding;
	uint64_t a[DS_MINHASH_MAX];
	uint64_t b[DS_MINHASH_MAX];
} DsMinHash;

extern void ds_minhash_init(DsMinHash *hash, DsBanding banding, uint64_t seed);

/* The bands of a set of n > 0 shingles as numbers: equal numbers, equal bands (or chance, 2^-32) */
extern void ds_minhash_bands(const DsMinHash *hash, const uint64_t *shingles, size_t n,
							 uint32_t *bands);

/* 128 bits that tell texts apart */
typedef struct DsTextKey
{
	uint64_t word[2];
} DsTextKey;

extern DsTextKey ds_text_key(const char *text, size_t length);

#endif /* DS_MINHASH_H */
