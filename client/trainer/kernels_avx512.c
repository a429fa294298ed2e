#define KERNELS_NAME "avx512"
#define KERNELS_TABLE trainer_kernels_avx512
#include "client/trainer/kernels_body.h"
