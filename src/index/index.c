#include "server.h"
void
ds_init_index(void)
{
}
