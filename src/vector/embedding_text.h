/*
 * embedding_text.h
 *		Reading the text forms of vectors.
 */
#ifndef DS_EMBEDDING_TEXT_H
#define DS_EMBEDDING_TEXT_H

#include "vector/embedding.h"

typedef enum DsNumberKind
{
	DS_NUMBER_FINITE,
	DS_NUMBER_TOO_LARGE,
	DS_NUMBER_NAN,
	DS_NUMBER_INFINITE,
	DS_NUMBER_NONE /* no number here */
} DsNumberKind;

static inline bool
ds_is_space(char c)
{
	return c == ' ' || (c >= '\t' && c <= '\r');
}

static inline bool
ds_is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/*
 * Read a number at *cursor and step over it; over as much of it as there is
 * for DS_NUMBER_NONE.
 */
extern DsNumberKind ds_read_number(const char **cursor, float *result);

/* A text for an error message, not too long */
extern char *ds_text_quoted(const char *text, int length);

/* The character at p, for an error message */
extern char *ds_text_found(const char *p);

#endif /* DS_EMBEDDING_TEXT_H */
