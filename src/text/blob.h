/*
 * blob.h
 *		The numbers of a stored tokenizer: little-endian, at any address.
 */
#ifndef DS_BLOB_H
#define DS_BLOB_H

#include <stdint.h>

static inline uint32_t
ds_read_u32(const unsigned char *p)
{
	return (uint32_t) p[0] | (uint32_t) p[1] << 8 | (uint32_t) p[2] << 16 | (uint32_t) p[3] << 24;
}

static inline uint64_t
ds_read_u64(const unsigned char *p)
{
	return ds_read_u32(p) | (uint64_t) ds_read_u32(p + 4) << 32;
}

static inline void
ds_write_u32(unsigned char *p, uint32_t x)
{
	p[0] = (unsigned char) x;
	p[1] = (unsigned char) (x >> 8);
	p[2] = (unsigned char) (x >> 16);
	p[3] = (unsigned char) (x >> 24);
}

static inline void
ds_write_u64(unsigned char *p, uint64_t x)
{
	ds_write_u32(p, (uint32_t) x);
	ds_write_u32(p + 4, (uint32_t) (x >> 32));
}

#endif /* DS_BLOB_H */
