/*
 * ngram_rules.h
 *		A tokenizer of overlapping n-grams as data that other programs can follow.
 *
 * No tokenizer.json can say what such a tokenizer does, so two files do: the tokenizer's
 * blob as it is (text/ngram.h has its layout; others read only the slots of its table), and
 * JSON with all that a program needs to know beside the algorithm, which docs/export.md
 * shows:
 *
 *   max_tokens, words, word [min, max], spaceless [min, max]	as DsTokenizerConfig has them
 *   cleaning	DsCleanOptions
 *   learned, buckets, slots {file, offset, count}	the vocabulary
 *   width [first, last, delta]	ds_fold_width() by ranges
 *   voiced [katakana, mark, both]	ds_join_voiced()
 *   fold [first, last, stride, delta]	ds_fold_case()
 *   classes [first, class]	ds_char_class(): each up to the next one
 *   entities {name: character}	of HTML, where that is stripped
 */
#ifndef DS_NGRAM_RULES_H
#define DS_NGRAM_RULES_H

#include "format/plan.h"
#include "text/tokenizer.h"

/*
 * Plan the two files of a tokenizer opened from blob[size], whose bytes are not copied; names
 * must stand as long as the plan.
 */
extern DsCode ds_ngram_rules(const DsTokenizer *tokenizer, const void *blob, size_t size,
							 const char *json, const char *bin, DsPlan *plan, DsStatus *status);

#endif /* DS_NGRAM_RULES_H */
