/*
 * clean.h
 *		Text cleaning: what a tokenizer does to a text before it looks at it.
 *
 * Input is any bytes.  What is not UTF-8 becomes U+FFFD, one for each byte
 * that cannot begin or continue a character, so the output is always valid
 * UTF-8.  No allocation, no failure: the caller brings a buffer of
 * ds_clean_bound(length) bytes, or a smaller one and gets a shorter text that
 * ends between two characters.
 */
#ifndef DS_CLEAN_H
#define DS_CLEAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

typedef struct DsCleanOptions
{
	/* ＡＢＣ１２３ to ABC123, ideographic space to space, halfwidth katakana to katakana */
	bool fold_width;
	/* simple case folding of Unicode: A to a, Σ and ς to σ, Я to я */
	bool fold_case;
	/* control and invisible format characters vanish; tab, newline and their like are white space */
	bool strip_controls;
	/* runs of white space become one space, none at either end */
	bool collapse_space;
	/* <tags> and <!-- comments --> become a space, script and style elements with their text;
	 * the common named entities and the numeric ones become their character */
	bool strip_html;
} DsCleanOptions;

/* all but strip_html */
extern const DsCleanOptions ds_clean_defaults;

/* The most bytes that cleaning a text of this length gives, whatever the options; SIZE_MAX when that
 * overflows. */
extern size_t ds_clean_bound(size_t length);

/*
 * Clean text[length] into out, at most capacity bytes; returns the number of
 * bytes written, without a terminating zero.  out may not overlap text.
 * Cleaning stops when the next character would not fit.
 */
extern size_t ds_clean(const DsCleanOptions *options, const char *text, size_t length, char *out,
					   size_t capacity);

/* The same, for texts of any length: stops early when it is cancelled, which the caller finds out. */
extern size_t ds_clean_long(const DsCleanOptions *options, const char *text, size_t length,
							char *out, size_t capacity, const DsCancel *cancel);

/* The named entities that strip_html knows, by number; NULL behind the last */
extern const char *ds_clean_entity(size_t number, uint32_t *c);

#endif /* DS_CLEAN_H */
