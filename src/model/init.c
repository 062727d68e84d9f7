#include "server.h"
void
ds_init_model(void)
{
}
