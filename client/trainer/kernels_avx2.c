#define KERNELS_NAME "avx2"
#define KERNELS_TABLE trainer_kernels_avx2
#include "client/trainer/kernels_body.h"
