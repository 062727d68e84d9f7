/*
 * exif.c
 *		How a camera was held: the one thing of EXIF that pixels depend on.
 *
 * The markers of a JPEG and the chunks of a PNG are walked here, not by their
 * libraries, which would copy every such block.  Whatever is not as it should be
 * is an orientation of 1: the decoder says what is wrong with a file.
 *
 * EXIF 2.32 (CIPA DC-008), 4.5 and 4.6.4 A; PNG 1.5 extensions, eXIf.
 */
#include "image/decode.h"

#include <string.h>

static uint32_t
big16(const uint8_t *p)
{
	return (uint32_t) p[0] << 8 | p[1];
}

static uint32_t
big32(const uint8_t *p)
{
	return big16(p) << 16 | big16(p + 2);
}

static uint32_t
number16(const uint8_t *p, bool little)
{
	return little ? (uint32_t) p[1] << 8 | p[0] : big16(p);
}

static uint32_t
number32(const uint8_t *p, bool little)
{
	return little ? number16(p + 2, true) << 16 | number16(p, true) : big32(p);
}

/* a TIFF header, then the first directory: tag 0x0112, one SHORT */
static uint32_t
tiff_orientation(const uint8_t *p, size_t size)
{
	bool little;
	uint32_t directory, entries;

	if (size < 8 || (memcmp(p, "II*\0", 4) != 0 && memcmp(p, "MM\0*", 4) != 0))
		return 1;
	little = p[0] == 'I';
	directory = number32(p + 4, little);
	if (directory > size - 2)
		return 1;
	entries = number16(p + directory, little);
	for (uint32_t i = 0; i < entries && (size - directory - 2) / 12 > i; i++)
	{
		const uint8_t *entry = p + directory + 2 + (size_t) i * 12;

		if (number16(entry, little) == 0x0112)
		{
			uint32_t value = number16(entry + 8, little);

			return number16(entry + 2, little) == 3 && value >= 1 && value <= 8 ? value : 1;
		}
	}
	return 1;
}

uint32_t
ds_jpeg_orientation(const uint8_t *bytes, size_t size)
{
	size_t at = 2;

	/* up to the first scan; between two segments a decoder skips what is no marker */
	while (size - at >= 4)
	{
		uint32_t marker = bytes[at + 1];
		size_t length;

		if (bytes[at] != 0xff || marker == 0xff || marker == 0 || marker == 1 ||
			(marker >= 0xd0 && marker <= 0xd8))
		{
			at++;
			continue;
		}
		length = big16(bytes + at + 2);
		if (marker == 0xda || marker == 0xd9 || length < 2 || length > size - at - 2)
			return 1;
		if (marker == 0xe1 && length >= 8 && memcmp(bytes + at + 4, "Exif\0", 5) == 0)
			return tiff_orientation(bytes + at + 10, length - 8);
		at += 2 + length;
	}
	return 1;
}

uint32_t
ds_png_orientation(const uint8_t *bytes, size_t size)
{
	size_t at = 8;

	/* length, type, data, checksum */
	while (size - at >= 12)
	{
		uint32_t length = big32(bytes + at);

		if (length > size - at - 12 || memcmp(bytes + at + 4, "IEND", 4) == 0)
			return 1;
		if (memcmp(bytes + at + 4, "eXIf", 4) == 0)
			return tiff_orientation(bytes + at + 8, length);
		at += 12 + (size_t) length;
	}
	return 1;
}
