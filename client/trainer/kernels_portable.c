#define KERNELS_NAME "portable"
#define KERNELS_TABLE trainer_kernels_portable
#include "client/trainer/kernels_body.h"
