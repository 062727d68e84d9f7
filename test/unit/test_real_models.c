/*
 * test_real_models.c
 *		Files that other programs wrote, from ../shared/data/models where that is there:
 *		folders of encoders, a file that is cut short, a checkpoint of TensorFlow.
 */
#include "unit.h"

#include "disk_folder.h"
#include "format/safetensors.h"
#include "format/tf_bundle.h"

#define MODELS "../shared/data/models/"

static DsStatus status;
static DsArena arena;
static DsArena scratch;
static DsEncoderSource source;
static char base[512];
static DsFolder folder;

static DsCode
open_model(const char *name)
{
	snprintf(base, sizeof(base), MODELS "%s", name);
	status.message[0] = '\0';
	return ds_encoder_source_open(&folder, &arena, &scratch, &source, &status);
}

static void
opens(const char *name, const char *family, size_t dims, size_t tensors)
{
	DsCode code = open_model(name);
	size_t bad = 0;

	CHECK(code == DS_OK && strcmp(source.spec.family, family) == 0 &&
			  ds_spec_dims(&source.spec) == dims && source.tensor_count == tensors,
		  "%s: %s %zu %zu %s", name, code == DS_OK ? source.spec.family : "",
		  code == DS_OK ? ds_spec_dims(&source.spec) : 0, source.tensor_count, status.message);
	if (code != DS_OK)
		return;
	for (size_t i = 0; i < source.tensor_count; i++)
	{
		const DsSourceTensor *tensor = &source.tensors[i];
		size_t n = tensor->info->elements < 1000 ? (size_t) tensor->info->elements : 1000;
		float values[1000];

		if (ds_tensors_read_floats(tensor->files, tensor->info, tensor->info->elements - n, n,
								   values, &status) != DS_OK)
			bad++;
		for (size_t k = 0; k < n; k++)
			bad += !isfinite(values[k]);
	}
	CHECK(bad == 0, "%s: the ends of its tensors are numbers", name);
}

static void
test_checkpoint(void)
{
	DsTensorFiles files;
	size_t wrong = 0;
	size_t checked = 0;
	DsCode code;
	const DsTensorInfo *kernel;

	snprintf(base, sizeof(base), MODELS "tf-checkpoint-transformer-tiny");
	code = ds_tf_bundle_open(&folder, "model.ckpt-1.index", &arena, &scratch, &files, &status);
	CHECK(code == DS_OK, "a checkpoint opens: %s", code == DS_OK ? "" : status.message);
	if (code != DS_OK)
		return;
	for (size_t i = 0; i < files.count; i++)
	{
		const DsTensorInfo *tensor = &files.tensors[i];
		unsigned char *bytes = malloc((size_t) tensor->bytes + 1);

		if (ds_tensors_read(&files, tensor, 0, bytes, (size_t) tensor->bytes, &status) != DS_OK ||
			!tensor->has_checksum ||
			ds_crc32c_mask(ds_crc32c(0, bytes, (size_t) tensor->bytes)) != tensor->checksum)
			wrong++;
		checked++;
		free(bytes);
	}
	CHECK(wrong == 0 && checked > 50, "the bytes of its %zu tensors have the checksums it gives",
		  checked);
	kernel = ds_tensors_find(
		&files, "transformer/body/decoder/layer_0/encdec_attention/multihead_attention/q/kernel");
	CHECK(kernel != NULL && kernel->rank == 2 && kernel->shape[0] == 16 && kernel->file == 1,
		  "one of them, in the second shard");
}

int
main(void)
{
	DsTensorFiles files;
	struct stat there;

	if (stat(MODELS, &there) != 0)
	{
		printf("ok 1 - # SKIP " MODELS " is not there\n1..1\n");
		return 0;
	}
	folder = disk_folder(base);
	ds_arena_init(&arena, NULL);
	ds_arena_init(&scratch, NULL);

	opens("tiny-bert-random/tiny_bert", "bert", 32, 37);
	CHECK(source.spec.pooling == DS_POOL_MEAN && source.spec.max_tokens == 128,
		  "its pooling, its longest text");
	opens("tiny-bert-random/tiny_nomic", "nomic_bert", 32, 33);
	CHECK(source.spec.rotary_dims == 8 && source.spec.gated && source.spec.qkv_bias &&
			  !source.spec.up_bias && !source.spec.qkv_fused,
		  "rotation, gates, biases of attention alone");
	opens("tiny-bert-1layer-random", "bert", 32, 21);
	opens("tiny-modernbert-random", "modernbert", 2, 12);
	CHECK(source.spec.scores == 1 && source.spec.module_count == 3, "it scores");
	opens("tiny-openclip-random", "open_clip", 16, 17);
	CHECK(source.spec.causal && source.spec.eot_id == 96 && source.spec.max_tokens == 32,
		  "the text tower alone");
	opens("model2vec/test-model-float32", "model2vec", 2, 1);
	opens("model2vec/test-model-float16", "model2vec", 2, 1);
	opens("model2vec/test-model-int8", "model2vec", 2, 1);
	opens("model2vec/test-model-vocab-quantized", "model2vec", 64, 3);
	CHECK(source.spec.vocabulary == 29524 && source.spec.static_rows == 128 &&
			  source.spec.token_weights,
		  "fewer rows than tokens");
	opens("model2vec/test-model-sentence-transformers", "static", 2, 1);
	CHECK(source.spec.module_count == 1 && source.spec.modules[0].kind == DS_MODULE_NORMALIZE,
		  "its vectors have length one");

	CHECK(open_model("minilm-truncated") == DS_BAD_DATA &&
			  strstr(status.message, "cut short") != NULL &&
			  strstr(status.message, "\"embeddings.word_embeddings.weight\"") != NULL,
		  "a file that is cut short: %s", status.message);
	CHECK(open_model("tf-checkpoint-transformer-tiny") != DS_OK, "no BERT: %s", status.message);
	test_checkpoint();

	snprintf(base, sizeof(base), MODELS "resnet-cifar10");
	CHECK(ds_safetensors_open(&folder, "resnet20.safetensors", &arena, &scratch, &files, &status) ==
				  DS_OK &&
			  files.count > 20,
		  "a network of images");
	CHECK(scratch.allocated == 0, "scratch is given back");
	ds_arena_free(&arena);
	ds_arena_free(&scratch);
	return unit_done();
}
