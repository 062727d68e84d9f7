/*
 * pages.c
 *		Large pages for large arrays.
 */
#include "base/pages.h"

#include <errno.h>
#include <stdint.h>

#if defined(__linux__)
#include <sys/mman.h>
#endif

#define LARGE_PAGE ((uintptr_t) 2 << 20)

void
ds_prefer_large_pages(void *memory, size_t size)
{
#if defined(__linux__) && defined(MADV_HUGEPAGE)
	uintptr_t begin = ((uintptr_t) memory + LARGE_PAGE - 1) / LARGE_PAGE * LARGE_PAGE;
	uintptr_t end = ((uintptr_t) memory + size) / LARGE_PAGE * LARGE_PAGE;
	int before = errno;

	/* a refusal changes nothing but the speed */
	if (end > begin && end - begin >= 2 * LARGE_PAGE &&
		madvise((void *) begin, end - begin, MADV_HUGEPAGE) != 0)
		errno = before;
#else
	(void) memory;
	(void) size;
#endif
}
