/*
 * status.c
 *		Failure messages of the pure rooms.
 */
#include "base/status.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

DsCode
ds_fail(DsStatus *status, DsCode code, const char *format, ...)
{
	va_list args;
	int length;

	if (status == NULL)
		return code;
	status->code = code;
	va_start(args, format);
	length = vsnprintf(status->message, sizeof(status->message), format, args);
	va_end(args);
	if (length < 0)
		status->message[0] = '\0';
	else if ((size_t) length >= sizeof(status->message))
	{
		/* step back over the bytes of a character that was cut in two */
		size_t end = sizeof(status->message) - 1;
		size_t lead = end;

		while (lead > 0 && end - lead < 4 &&
			   ((unsigned char) status->message[lead - 1] & 0xC0) == 0x80)
			lead--;
		if (lead > 0 && (unsigned char) status->message[lead - 1] >= 0xC0)
		{
			unsigned char first = (unsigned char) status->message[lead - 1];
			size_t need = first >= 0xF0 ? 4 : first >= 0xE0 ? 3 : 2;

			if (end - (lead - 1) < need)
				status->message[lead - 1] = '\0';
		}
	}
	return code;
}
