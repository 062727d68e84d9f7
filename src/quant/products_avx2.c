/*
 * products_avx2.c
 *		Products of rows and packed centroids with AVX2 and FMA.
 */
#include "quant/products.h"

#if defined(__AVX2__) && defined(__FMA__)
#include <immintrin.h>

#define VECTOR __m256
#define WIDTH 8
#define ROWS 6
#define PANELS 1
#define LOAD _mm256_loadu_ps
#define STORE _mm256_storeu_ps
#define SET _mm256_set1_ps
#define ADD_PRODUCT _mm256_fmadd_ps

#include "quant/products_loops.h"

const DsProducts ds_products_avx2 = products;
#else
const DsProducts ds_products_avx2 = NULL;
#endif
