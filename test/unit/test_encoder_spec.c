/*
 * test_encoder_spec.c
 *		The description of an encoder: what is refused, its tensors, its JSON.
 */
#include "nn/encoder_spec.h"
#include "unit.h"

static DsEncoderSpec
bert(void)
{
	DsEncoderSpec spec;

	ds_spec_init(&spec, DS_ENCODER_TRANSFORMER);
	strcpy(spec.family, "bert");
	spec.vocabulary = 30522;
	spec.hidden = 384;
	spec.positions = 512;
	spec.types = 2;
	spec.embedding_norm = 1;
	spec.layers = 6;
	spec.heads = 12;
	spec.head_dims = 32;
	spec.intermediate = 1536;
	spec.activation = DS_ACT_GELU;
	spec.norm_epsilon = 1e-12f;
	spec.norm_bias = spec.qkv_bias = spec.out_bias = spec.up_bias = spec.down_bias = 1;
	spec.max_tokens = 256;
	spec.pooling = DS_POOL_MEAN;
	spec.module_count = 1;
	spec.modules[0] = (DsSpecModule){.kind = DS_MODULE_NORMALIZE, .in = 384, .out = 384};
	return spec;
}

static DsEncoderSpec
modern(void)
{
	DsEncoderSpec spec = bert();

	strcpy(spec.family, "modernbert");
	spec.positions = spec.types = 0;
	spec.gated = spec.gate_up_fused = spec.qkv_fused = 1;
	spec.norm_first = spec.first_norm_absent = spec.final_norm = 1;
	spec.norm_bias = spec.qkv_bias = spec.out_bias = spec.up_bias = spec.down_bias = 0;
	spec.rotary_dims = 32;
	spec.rotary_base = 160000;
	spec.window_base = 10000;
	spec.window = 128;
	spec.global_every = 3;
	spec.pooling = DS_POOL_CLS | DS_POOL_LAST;
	spec.module_count = 3;
	spec.modules[0] =
		(DsSpecModule){.kind = DS_MODULE_DENSE, .in = 768, .out = 500, .activation = DS_ACT_TANH};
	spec.modules[1] =
		(DsSpecModule){.kind = DS_MODULE_NORM, .in = 500, .out = 500, .epsilon = 1e-5f, .bias = 1};
	spec.modules[2] = (DsSpecModule){.kind = DS_MODULE_SLICE, .in = 500, .out = 128};
	return spec;
}

/* a change that makes a good description a bad one, and a word that the message must have */
#define REFUSED(change, word)                                                                 \
	do                                                                                        \
	{                                                                                         \
		DsEncoderSpec spec = modern();                                                        \
		DsStatus status = {0};                                                                \
                                                                                              \
		change;                                                                               \
		CHECK(ds_spec_check(&spec, &status) != DS_OK && strstr(status.message, word) != NULL, \
			  "refused: %s (%s)", #change, status.message);                                   \
	} while (0)

static void
test_check(void)
{
	DsEncoderSpec good = modern();
	DsStatus status = {0};

	CHECK(ds_spec_check(&good, &status) == DS_OK, "ModernBERT is accepted %s", status.message);
	good = bert();
	CHECK(ds_spec_check(&good, &status) == DS_OK, "BERT is accepted %s", status.message);
	CHECK(ds_spec_dims(&good) == 384, "its dimensions");
	good = modern();
	CHECK(ds_spec_dims(&good) == 128 && ds_spec_pooled_dims(&good) == 768, "and with modules");

	REFUSED(spec.version = 9, "version");
	REFUSED(spec.kind = 4, "kind");
	REFUSED(memset(spec.family, 'x', sizeof(spec.family)), "family");
	REFUSED(strcpy(spec.family, "a\"b"), "family");
	REFUSED(spec.vocabulary = 0, "vocabulary");
	REFUSED(spec.vocabulary = 0xffffffff, "vocabulary");
	REFUSED(spec.hidden = 1u << 31, "hidden");
	REFUSED(spec.layers = 0, "layers");
	REFUSED(spec.layers = 129, "layers");
	REFUSED(spec.head_dims = 257, "head_dims");
	REFUSED(spec.intermediate = 65537, "intermediate");
	REFUSED(spec.activation = DS_ACTIVATIONS, "activation");
	REFUSED(spec.norm_epsilon = 0, "norm_epsilon");
	REFUSED(spec.norm_epsilon = NAN, "norm_epsilon");
	REFUSED(spec.rotary_base = INFINITY, "rotary_base");
	REFUSED(spec.rotary_dims = 33, "rotary_dims");
	REFUSED(spec.rotary_dims = 34, "rotary_dims");
	REFUSED(spec.rotary_dims = 2; spec.rotary_scaling = 2; spec.rotary_trained = 8, "rotary");
	REFUSED(spec.norm_first = 0, "first_norm_absent");
	REFUSED(spec.gated = 0, "gate_up_fused");
	REFUSED(spec.pooling = 0, "pooling");
	REFUSED(spec.pooling = 128, "pooling");
	REFUSED(spec.pooling = DS_POOL_EOT | DS_POOL_CLS, "eot_id");
	REFUSED(spec.global_every = 0, "global_every");
	REFUSED(spec.positions = 200, "max_tokens");
	REFUSED(spec.positions = 300; spec.position_offset = 100, "max_tokens");
	REFUSED(spec.position_offset = 100, "position_offset");
	REFUSED(spec.relative_buckets = 32, "relative_distance");
	REFUSED(spec.relative_buckets = 32; spec.relative_distance = 8, "relative_distance");
	REFUSED(spec.max_tokens = 0, "max_tokens");
	REFUSED(spec.static_rows = 5, "static_rows");
	REFUSED(spec.kind = DS_ENCODER_STATIC, "static");
	REFUSED(spec.module_count = 9, "modules");
	REFUSED(spec.modules[1].kind = 7, "module 1");
	REFUSED(spec.modules[1].in = 400, "module 1");
	REFUSED(spec.modules[1].out = 400, "module 1");
	REFUSED(spec.modules[1].epsilon = 0, "epsilon");
	REFUSED(spec.modules[2].out = 501, "module 2");
	REFUSED(spec.modules[2].out = 0, "module 2");
	REFUSED(spec.modules[0].activation = 99, "activation");
}

static void
test_tensors(void)
{
	DsEncoderSpec spec = bert();
	DsSpecTensor tensor = {0};
	DsSpecTensor again = {0};
	size_t count = ds_spec_tensors(&spec);
	uint64_t values = 0;
	int bad = 0;

	CHECK(count == 5 + 6 * 16, "BERT of 6 layers has %zu tensors", count);
	for (size_t i = 0; i < count; i++)
	{
		if (!ds_spec_tensor(&spec, i, &tensor) || !ds_spec_find(&spec, tensor.name, &again) ||
			memcmp(&tensor, &again, sizeof(tensor)) != 0)
			bad++;
		values += (uint64_t) tensor.shape[0] * tensor.shape[1];
	}
	CHECK(bad == 0 && !ds_spec_tensor(&spec, count, &tensor), "each is found by its name");
	/* all-MiniLM-L6-v2 has 22,713,216 parameters, 147,840 of them in a pooler that is not used */
	CHECK(values == 22713216 - 147840 && ds_spec_parameters(&spec) == values,
		  "%llu parameters, as MiniLM has", (unsigned long long) values);
	CHECK(ds_spec_find(&spec, "layer.5.mlp.up.weight_t", &tensor) && tensor.shape[0] == 384 &&
			  tensor.shape[1] == 1536 && strcmp(tensor.name, "layer.5.mlp.up.weight_t") == 0,
		  "a linear layer, the other way round");
	CHECK(!ds_spec_find(&spec, "token.weight_t", &tensor), "the table of tokens is none");
	CHECK(!ds_spec_find(&spec, "layer.5.mlp.up.bias_t", &tensor), "a bias neither");
	CHECK(!ds_spec_find(&spec, "layer.6.mlp.up.weight", &tensor), "no layer 6");
	CHECK(!ds_spec_find(&spec, "", &tensor) && !ds_spec_find(&spec, "_t", &tensor), "no name");

	spec = modern();
	CHECK(!ds_spec_find(&spec, "layer.0.attention.norm.weight", &tensor) &&
			  ds_spec_find(&spec, "layer.1.attention.norm.weight", &tensor) &&
			  !ds_spec_find(&spec, "layer.1.attention.norm.bias", &tensor),
		  "the norm that the first layer lacks");
	CHECK(ds_spec_find(&spec, "layer.2.attention.qkv.weight", &tensor) && tensor.shape[0] == 1152,
		  "fused query, key and value");
	CHECK(ds_spec_find(&spec, "module.1.bias", &tensor) && tensor.shape[0] == 500 &&
			  !ds_spec_find(&spec, "module.0.bias", &tensor),
		  "modules with and without bias");

	ds_spec_init(&spec, DS_ENCODER_STATIC);
	spec.vocabulary = 100;
	spec.static_rows = 20;
	spec.hidden = 8;
	spec.max_tokens = 512;
	spec.token_weights = 1;
	CHECK(ds_spec_check(&spec, NULL) == DS_OK && ds_spec_tensors(&spec) == 3 &&
			  ds_spec_find(&spec, "token.row", &tensor) && tensor.shape[0] == 100,
		  "a static encoder");
}

static DsCode
read_json(const char *text, DsEncoderSpec *spec, DsStatus *status)
{
	DsJson root;
	DsCode code = ds_json_parse(text, strlen(text), "test", &root, status);

	return code != DS_OK ? code : ds_spec_read(root, spec, status);
}

static void
test_json(void)
{
	DsEncoderSpec specs[] = {bert(), modern()};
	static const char *const wrong[][2] = {
		{"[]", "object"},
		{"{}", "version"},
		{"{\"version\": 1, \"nonsense\": 1}", "nonsense"},
		{"{\"version\": 1, \"layers\": -1}", "layers"},
		{"{\"version\": 1, \"layers\": 4294967296}", "layers"},
		{"{\"version\": 1, \"layers\": \"6\"}", "layers"},
		{"{\"version\": 1, \"activation\": \"mish\"}", "activation"},
		{"{\"version\": 1, \"pooling\": [\"mean\", 1]}", "pooling"},
		{"{\"version\": 1, \"norm_epsilon\": 1e99}", "norm_epsilon"},
		{"{\"version\": 1, \"causal\": 1}", "causal"},
		{"{\"version\": 1, \"modules\": 1}", "modules"},
		{"{\"version\": 1, \"modules\": [{\"kind\": \"conv\"}]}", "module"},
		{"{\"version\": 1, \"modules\": [{\"kind\": \"dense\", \"x\": 1}]}", "x"},
		{"{\"version\": 1, \"family\": \"a name of more than thirty-one letters\"}", "family"},
		{"{\"version\": 1, \"kind\": \"transformer\"}", "vocabulary"},
	};

	for (size_t i = 0; i < 2; i++)
	{
		char text[4096];
		char cut[40];
		DsEncoderSpec back;
		DsStatus status = {0};
		size_t length = ds_spec_write(&specs[i], text, sizeof(text));

		CHECK(length == strlen(text) && ds_spec_write(&specs[i], NULL, 0) == length &&
				  ds_spec_write(&specs[i], cut, sizeof(cut)) == length && strlen(cut) == 39,
			  "%s", text);
		CHECK(read_json(text, &back, &status) == DS_OK &&
				  memcmp(&back, &specs[i], sizeof(back)) == 0,
			  "comes back as it was %s", status.message);
	}
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
	{
		DsEncoderSpec spec;
		DsStatus status = {0};

		CHECK(read_json(wrong[i][0], &spec, &status) == DS_INVALID &&
				  strstr(status.message, wrong[i][1]) != NULL,
			  "%s: %s", wrong[i][0], status.message);
	}
}

int
main(void)
{
	test_check();
	test_tensors();
	test_json();
	return unit_done();
}
