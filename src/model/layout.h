/*
 * layout.h
 *		From the tables to the file that processes share, and from there to a
 *		model that encodes.
 */
#ifndef DS_MODEL_LAYOUT_H
#define DS_MODEL_LAYOUT_H

#include "model/model.h"
#include "model/shared.h"
#include "model/store.h"

/*
 * One family's part.  Sections says what the file will have, fill appends it,
 * in that order; attach points the model into the mapping (model->shared).
 */
typedef struct DsLayout
{
	int (*sections)(DsModel *model, DsReader *reader, DsSection *sections, void **state);
	void (*fill)(DsModel *model, DsReader *reader, DsSharedBuild *build, void *state);
	void (*attach)(DsModel *model);
} DsLayout;

extern const DsLayout ds_layout_dual; /* layout_dual.c */
extern const DsLayout ds_layout_mixed; /* layout_mixed.c */
extern const DsLayout ds_layout_imported; /* layout_imported.c */

/* What the layout of an imported model depends on */
extern void ds_imported_packing(const DsImportedConfig *config, Jsonb *json, char *packing,
								size_t size);

/* The memory of a section; XX001 when there is none, or not of this size (0: any) */
extern const char *ds_layout_section(const DsModel *model, const char *name, size_t size);

/* Append all of a tensor. */
extern void ds_layout_copy(DsReader *reader, const DsStored *stored, DsSharedBuild *build);

/* A tokenizer that was learned, as it is used, however it is stored; in the current context */
extern void *ds_layout_tokenizer(DsReader *reader, const DsStored *stored, size_t *size);

/*
 * Numbers of a dual encoder (layout_numbers.c): the one or two sections that a tensor
 * takes, and their contents; a table of tokens keeps shorter numbers.  Then what the
 * file has of it: a parameter's value or shorter.
 */
extern int ds_layout_numbers(DsReader *reader, const DsStored *stored, bool table, DsSection *out);
extern void ds_layout_fill_numbers(DsReader *reader, const DsStored *stored, bool table,
								   DsSharedBuild *build);
extern void ds_layout_attach_numbers(DsModel *model, const char *name, DsParameter *parameter);

#endif /* DS_MODEL_LAYOUT_H */
