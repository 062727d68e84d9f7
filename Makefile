# deepsearch: build, test, demo.
#
#   make            build the library and the extension script
#   make install    into the server that pg_config names
#   make demo       the whole job on a private server (DATA=dir for other data,
#                   KEEP=1 to leave the server running)
#   make test       everything; TESTS="unit regress pgtap tap" for a part
#   make test-export  exported models, run by the programs that they are for (from npm)
#   make lint       formatting and static checks
#   make bench      see test/bench

EXTENSION = deepsearch
EXTVERSION = 0.1.0
MODULE_big = deepsearch

PG_CONFIG ?= pg_config

BASE = $(wildcard src/base/*.c)
PURE = $(BASE) $(wildcard src/vector/kernels*.c src/quant/*.c src/text/*.c src/format/*.c src/image/*.c src/nn/*.c src/eval/metrics*.c src/data/minhash*.c)
SERVER = $(wildcard src/*.c) $(filter-out $(PURE),$(wildcard src/vector/*.c src/index/*.c \
	src/model/*.c src/train/*.c src/eval/*.c src/data/*.c))
# (HEADERS would mean "install these" to PGXS)
SOURCE_HEADERS = $(wildcard src/*.h src/*/*.h)
OBJS = $(patsubst %.c,%.o,$(PURE) $(SERVER))

# The script's parts, in the order in which they depend on each other.
SCRIPT = deepsearch--$(EXTVERSION).sql
SCRIPT_PARTS = $(foreach part,embedding halfembedding bits sparseembedding index index_half index_filter index_life model encode import export train online eval data,$(wildcard sql/$(part).sql))
DATA_built = $(SCRIPT)
EXTRA_CLEAN = $(SCRIPT) build

MULTIARCH := $(shell $(CC) -print-multiarch 2>/dev/null)
# The static serial archive: the threaded builds start threads (docs/internals/base.md).
BLAS_LIBS ?= /usr/lib/$(MULTIARCH)/openblas-serial/libopenblas.a
BLAS_CPPFLAGS ?= -isystem /usr/include/$(MULTIARCH)/openblas-serial

WARNINGS = -Wall -Wextra
PG_CPPFLAGS = -Isrc $(BLAS_CPPFLAGS)
PG_CFLAGS = -std=gnu11 -O3 $(WARNINGS) -fno-math-errno -fvisibility=hidden
SHLIB_LINK = $(BLAS_LIBS) -lutf8proc -ljpeg -lpng -lm -Wl,--exclude-libs,ALL -Wl,--gc-sections

# No bitcode: nothing here gains from being inlined into JIT expressions, and
# the kernels are compiled for processors that the JIT may not have.
override with_llvm = no

PGXS := $(shell $(PG_CONFIG) --pgxs 2>/dev/null)
ifneq ($(PGXS),)
include $(PGXS)
# The server's headers as system headers: -Wextra is for our own code.
override CPPFLAGS := $(patsubst -I$(includedir_server),-isystem $(includedir_server),$(CPPFLAGS))
# The server's own flags are those of the compiler that built it.
ifneq ($(findstring clang,$(CC)),)
override CFLAGS := $(filter-out -fexcess-precision=% -Wno-stringop-truncation \
	-Wno-format-truncation -Wimplicit-fallthrough=% -Wshadow=% -Wcast-function-type \
	-ffat-lto-objects -flto=auto -fstack-clash-protection,$(CFLAGS))
endif
all: $(SCRIPT)
endif

$(OBJS): $(SOURCE_HEADERS)

# One package serves every machine: only these files use newer instructions,
# and nothing in them runs before ds_cpu_level() has said that it may.  On other
# architectures they are empty.
ifneq ($(filter x86_64-%,$(shell $(CC) -dumpmachine 2>/dev/null)),)
%_avx2.o build/%_avx2.o: override CFLAGS += -mavx2 -mfma -mf16c
%_avx512.o build/%_avx512.o: override CFLAGS += -mavx2 -mfma -mf16c -mavx512f -mavx512bw \
	-mavx512dq -mavx512vl -mavx512cd -mprefer-vector-width=512
%_avx512vnni.o build/%_avx512vnni.o %_avx512bf16.o build/%_avx512bf16.o \
%_avx512amx.o build/%_avx512amx.o \
%_avx512popcnt.o build/%_avx512popcnt.o: override CFLAGS += -mavx2 \
	-mfma -mf16c -mavx512f -mavx512bw -mavx512dq -mavx512vl -mavx512cd -mprefer-vector-width=512 \
	-mavx512vnni
%_avx512bf16.o build/%_avx512bf16.o: override CFLAGS += -mavx512bf16
%_avx512popcnt.o build/%_avx512popcnt.o: override CFLAGS += -mavx512vpopcntdq
%_avx512amx.o build/%_avx512amx.o: override CFLAGS += -mavx512bf16 -mamx-tile -mamx-int8 -mamx-bf16
endif
# Codes and their estimates are the same to the bit at every level; so are pixels,
# and the weights of filters.
src/quant/%.o src/image/%.o: override CFLAGS += -ffp-contract=off

$(SCRIPT): $(SCRIPT_PARTS) Makefile
	@{ printf '\\echo Use "CREATE EXTENSION deepsearch" to load this file. \\quit\n\n'; \
	   cat $(SCRIPT_PARTS); } > $@

# a module that tests load
build/polls.so: test/tools/polls.c
	@mkdir -p build
	@$(CC) $(CPPFLAGS) $(CFLAGS) -fvisibility=default -fPIC -shared $< -o $@

.PHONY: demo test test-export lint bench
demo:
	@test/demo/run $(if $(DATA),--data '$(DATA)') $(if $(KEEP),--keep)

test:
	@test/run $(TESTS)

test-export:
	@test/export/run
	@test/export/towers
	@test/export/tflite

lint:
	@test/lint

bench:
	@test/bench/run $(BENCH)
