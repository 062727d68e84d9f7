/*
 * fields.h
 *		JSON objects read, checked and written by tables of fields; for files that define such tables.
 *
 * One table for each object lists its keys with type, limits and the place in
 * a struct.  The same table reads, names what is allowed in errors, and writes
 * the complete object back.
 */
#ifndef DS_MODEL_FIELDS_H
#define DS_MODEL_FIELDS_H

#include "server.h"

#include "lib/stringinfo.h"
#include "utils/jsonb.h"

typedef enum FieldType
{
	FIELD_BOOL, /* bool */
	FIELD_FLAG, /* int */
	FIELD_UINT32,
	FIELD_UINT64,
	FIELD_REAL, /* double */
	FIELD_CHOICE, /* int, or an enum: index into choices */
	FIELD_TEXT, /* char *, in the current context; null makes it NULL */
	FIELD_SIZES, /* matryoshka_count and matryoshka[] of a DsTrainConfig */
	FIELD_FREEZE, /* rules[] of a DsTrainConfig whose factor is 0: a name or an array of names */
	FIELD_RATES, /* and the others: an object of factors */
	FIELD_WIDTHS, /* dense_count and dense[] of a DsTowerConfig */
	FIELD_OBJECT,
	FIELD_CUSTOM /* known, but read by the caller */
} FieldType;

typedef struct Field
{
	const char *key;
	FieldType type;
	size_t offset;
	double min;
	double max;
	bool above_min; /* min itself is not allowed */
	bool below_max; /* nor is max */
	const char *const *choices; /* NULL-terminated */
	const struct Field *fields; /* of an object, ended by a NULL key */
} Field;

#define EXACT_MAX 9007199254740992.0 /* 2^53: integers that a double holds */

#define TEXT(key, type, member)                                                 \
	{                                                                           \
		key, FIELD_TEXT, offsetof(type, member), 0, 0, false, false, NULL, NULL \
	}
#define BOOL(key, type, member)                                                 \
	{                                                                           \
		key, FIELD_BOOL, offsetof(type, member), 0, 1, false, false, NULL, NULL \
	}
#define FLAG(key, type, member)                                                 \
	{                                                                           \
		key, FIELD_FLAG, offsetof(type, member), 0, 1, false, false, NULL, NULL \
	}
#define UINT32(key, type, member, min, max)                                           \
	{                                                                                 \
		key, FIELD_UINT32, offsetof(type, member), min, max, false, false, NULL, NULL \
	}
#define REAL(key, type, member, min, max, above, below)                             \
	{                                                                               \
		key, FIELD_REAL, offsetof(type, member), min, max, above, below, NULL, NULL \
	}
#define CHOICE(key, type, member, choices)                                           \
	{                                                                                \
		key, FIELD_CHOICE, offsetof(type, member), 0, 0, false, false, choices, NULL \
	}
#define OBJECT(key, offset, fields)                                 \
	{                                                               \
		key, FIELD_OBJECT, offset, 0, 0, false, false, NULL, fields \
	}
#define CUSTOM(key)                                          \
	{                                                        \
		key, FIELD_CUSTOM, 0, 0, 0, false, false, NULL, NULL \
	}
#define END                                                 \
	{                                                       \
		NULL, FIELD_BOOL, 0, 0, 0, false, false, NULL, NULL \
	}

/*
 * Read the keys that are there into the struct at base.  22023 with the path
 * of the key for an unknown key, a wrong type, a value out of range.  In
 * messages the object is called whole, one of its keys what.
 */
extern void ds_fields_read(Jsonb *json, const char *whole, const char *what, const Field *fields,
						   void *base);

/* The same for an object inside, found at path */
extern void ds_fields_read_object(JsonbContainer *object, const char *what, const char *path,
								  const Field *fields, void *base);

/* The container of an object under a key of the root, or NULL */
extern JsonbContainer *ds_fields_find_object(Jsonb *json, const char *key);

/* Append keys and values, without braces */
extern void ds_fields_write(StringInfo out, const Field *fields, const void *base, bool *first);

/* What was written, as jsonb in the current context */
extern Jsonb *ds_fields_finish(StringInfo out);

#endif /* DS_MODEL_FIELDS_H */
