/*
 * pages.h
 *		Large pages for large arrays.
 */
#ifndef DS_PAGES_H
#define DS_PAGES_H

#include <stddef.h>

/*
 * Ask for large pages (2 MB on most machines) where the system leaves that to
 * programs ("madvise" in /sys/kernel/mm/transparent_hugepage/enabled): arrays of many
 * megabytes that are read all over spend a tenth of their time on finding 4 kB
 * pages.  Nothing happens where there are none, or for less than some megabytes.
 * Memory that was never touched still costs nothing, to 2 MB.
 */
extern void ds_prefer_large_pages(void *memory, size_t size);

#endif /* DS_PAGES_H */
