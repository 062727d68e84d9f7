/*
 * products_avx512.c
 *		Products of rows and packed centroids with AVX-512.
 */
#include "quant/products.h"

#ifdef __AVX512F__
#include <immintrin.h>

#define VECTOR __m512
#define WIDTH 16
#define ROWS 12
#define PANELS 2
#define LOAD _mm512_loadu_ps
#define STORE _mm512_storeu_ps
#define SET _mm512_set1_ps
#define ADD_PRODUCT _mm512_fmadd_ps

#include "quant/products_loops.h"

const DsProducts ds_products_avx512 = products;
#else
const DsProducts ds_products_avx512 = NULL;
#endif
