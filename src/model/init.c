/*
 * init.c
 *		This room's part of loading the library.
 */
#include "server.h"

#include "model/catalog.h"
#include "model/shared.h"
#include "model/version.h"

void
ds_init_model(void)
{
	ds_init_catalog();
	ds_init_shared();
	ds_init_version();
}
