/*
 * init.c
 *		This room's part of loading the library.
 */
#include "server.h"

#include "model/catalog.h"

void
ds_init_model(void)
{
	ds_init_catalog();
}
