/*
 * compat.h
 *		The differences between PostgreSQL 14 and 18, in one place.
 *
 * Server rooms include this instead of testing PG_VERSION_NUM themselves.
 */
#ifndef DS_COMPAT_H
#define DS_COMPAT_H

/*
 * The library is built with hidden symbols.  Before 16 PostgreSQL leaves this
 * macro empty, and the server would not find its functions.
 */
#define PGDLLEXPORT __attribute__((visibility("default")))

#include "postgres.h"
#include "fmgr.h"
#if PG_VERSION_NUM >= 160000
#include "varatt.h"
#endif

#if PG_VERSION_NUM < 140000
#error "deepsearch needs PostgreSQL 14 or later"
#endif

/* PG_MODULE_MAGIC_EXT names the module in pg_get_loaded_modules() since 18 */
#if PG_VERSION_NUM >= 180000
#define DS_MODULE_MAGIC PG_MODULE_MAGIC_EXT(.name = "deepsearch", .version = "0.1.0")
#else
#define DS_MODULE_MAGIC PG_MODULE_MAGIC
#endif

/*
 * A function that SQL calls.  PG_FUNCTION_INFO_V1 exports the function itself
 * since 16 only, so it is declared before.
 */
#define DS_FUNCTION(name)                            \
	extern PGDLLEXPORT Datum name(PG_FUNCTION_ARGS); \
	PG_FUNCTION_INFO_V1(name)

/*
 * Errors that the caller of an input function can ask to get back instead of
 * raised (pg_input_is_valid, COPY ... ON_ERROR): before 16 they are raised.
 */
#if PG_VERSION_NUM >= 160000
#include "nodes/miscnodes.h"
#define DS_SOFT_ERROR(context, result, ...) ereturn(context, result, __VA_ARGS__)
#else
#define DS_SOFT_ERROR(context, result, ...) \
	do                                      \
	{                                       \
		(void) (context);                   \
		ereport(ERROR, __VA_ARGS__);        \
	} while (0)
#endif

/* For ANALYZE (include commands/vacuum.h): the column's statistics target, and its delay point. */
#if PG_VERSION_NUM >= 170000
#define ds_statistics_target(stats) \
	((stats)->attstattarget < 0 ? default_statistics_target : (stats)->attstattarget)
#else
#define ds_statistics_target(stats) \
	((stats)->attr->attstattarget < 0 ? default_statistics_target : (stats)->attr->attstattarget)
#endif
#if PG_VERSION_NUM >= 180000
#define ds_analyze_delay_point() vacuum_delay_point(true)
#else
#define ds_analyze_delay_point() vacuum_delay_point()
#endif

/* stands before a declaration since 18, and took the place of what stood behind it */
#if PG_VERSION_NUM < 180000
#define pg_noreturn __attribute__((noreturn))
#endif

#if PG_VERSION_NUM < 150000
#define strtou64(text, end, base) ((uint64) strtoull(text, end, base))
#endif

/* the number of this process's transaction: a field of its own struct since 17 */
#if PG_VERSION_NUM >= 170000
#define DS_MYPROC_LXID (MyProc->vxid.lxid)
#else
#define DS_MYPROC_LXID (MyProc->lxid)
#endif

/* EXPLAIN (ANALYZE) shows the number of index searches since 18 */
#if PG_VERSION_NUM >= 180000
#define DS_COUNT_INDEX_SCAN(scan)                       \
	do                                                  \
	{                                                   \
		pgstat_count_index_scan((scan)->indexRelation); \
		if ((scan)->instrument)                         \
			(scan)->instrument->nsearches++;            \
	} while (0)
#else
#define DS_COUNT_INDEX_SCAN(scan) pgstat_count_index_scan((scan)->indexRelation)
#endif

/* a path that must not be chosen: an infinite cost alone does not do it since 18 */
#if PG_VERSION_NUM >= 180000
#define DS_DISABLE_PATH(node) ((node)->path.disabled_nodes = 2)
#else
#define DS_DISABLE_PATH(node) ((void) (node))
#endif

/*
 * Pin a page in the buffer where it was, if it still is there (include
 * storage/bufmgr.h).  The server does not count it among the relation's reads.
 */
#if PG_VERSION_NUM >= 160000
#define DS_READ_RECENT_BUFFER(index, block, buffer) \
	ReadRecentBuffer((index)->rd_locator, MAIN_FORKNUM, block, buffer)
#else
#define DS_READ_RECENT_BUFFER(index, block, buffer) \
	ReadRecentBuffer((index)->rd_node, MAIN_FORKNUM, block, buffer)
#endif

#if PG_VERSION_NUM >= 180000
#define DS_VACUUM_DELAY_POINT() vacuum_delay_point(false)
#else
#define DS_VACUUM_DELAY_POINT() vacuum_delay_point()
#endif

/* does a role own a relation? (include catalog/pg_class.h and utils/acl.h) */
#if PG_VERSION_NUM >= 160000
#define ds_owns_class(class, role) object_ownercheck(RelationRelationId, class, role)
#else
#define ds_owns_class(class, role) pg_class_ownercheck(class, role)
#endif

/* a scan of an index counts its searches since 18 */
#if PG_VERSION_NUM >= 180000
#define ds_index_beginscan(heap, index, snapshot, keys, orderbys) \
	index_beginscan(heap, index, snapshot, NULL, keys, orderbys)
#else
#define ds_index_beginscan(heap, index, snapshot, keys, orderbys) \
	index_beginscan(heap, index, snapshot, keys, orderbys)
#endif

/*
 * Is a collation's order that of bytes?  The server's header wants ICU's
 * headers, which a machine that only builds extensions need not have: it is
 * left out, or told that there is no ICU (what stands before its part is used).
 */
#if PG_VERSION_NUM >= 180000
#undef USE_ICU
#include "utils/pg_locale.h"
#define DS_COLLATION_IS_C(collation) (pg_newlocale_from_collation(collation)->collate_is_c)
#else
extern bool lc_collate_is_c(Oid collation);
#define DS_COLLATION_IS_C(collation) lc_collate_is_c(collation)
#endif

/*
 * The first bytes of sort keys, which the server has of ICU's collations and
 * trusts for its own sorts, since 16.  Those of the C library it does not trust.
 * The text ends with a zero: pg_strnxfrm_prefix() of 16 and 17, to which its
 * length is given, reads on behind its end.
 */
#if PG_VERSION_NUM >= 160000
#if PG_VERSION_NUM < 180000
extern struct pg_locale_struct *pg_newlocale_from_collation(Oid collation);
extern bool pg_strxfrm_prefix_enabled(struct pg_locale_struct *locale);
extern size_t pg_strxfrm_prefix(char *dest, const char *src, size_t size,
								struct pg_locale_struct *locale);
#endif
#define DS_COLLATION_HAS_PREFIX(collation) \
	pg_strxfrm_prefix_enabled(pg_newlocale_from_collation(collation))
#define DS_COLLATION_PREFIX(to, size, from, collation) \
	pg_strxfrm_prefix(to, from, size, pg_newlocale_from_collation(collation))
#else
#define DS_COLLATION_HAS_PREFIX(collation) ((void) (collation), false)
#define DS_COLLATION_PREFIX(to, size, from, collation) ((void) (to), (void) (from), (Size) 0)
#endif

#endif /* DS_COMPAT_H */
