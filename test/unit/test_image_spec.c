/*
 * test_image_spec.c
 *		The description of a network over pictures: what is refused, its shapes,
 *		its tensors, its JSON.
 */
#include "nn/resnet.h"
#include "unit.h"

static DsImageSpec
resnet(uint32_t depth)
{
	DsImageSpec spec;
	DsResNet net;
	DsStatus status = {0};

	if (!ds_resnet_depth(depth, &net) || ds_resnet_spec(&net, &spec, NULL, &status) != DS_OK)
	{
		printf("# %s\n", status.message);
		abort();
	}
	return spec;
}

static DsImageSpec
vit(void)
{
	DsImageSpec spec;
	DsEncoderSpec *t = &spec.transformer;

	ds_image_spec_init(&spec, DS_IMAGE_VIT);
	strcpy(spec.family, "vit");
	spec.height = 32;
	spec.width = 48;
	spec.channels = 3;
	spec.patch = 16;
	strcpy(t->family, "vit");
	t->patch_dims = 768;
	t->patch_bias = t->class_token = 1;
	t->hidden = 64;
	t->layers = 2;
	t->heads = 4;
	t->head_dims = 16;
	t->intermediate = 128;
	t->activation = DS_ACT_GELU;
	t->positions = t->max_tokens = 7;
	t->norm_first = t->final_norm = t->norm_bias = 1;
	t->qkv_bias = t->out_bias = t->up_bias = t->down_bias = 1;
	t->norm_epsilon = 1e-6f;
	t->pooling = DS_POOL_CLS;
	return spec;
}

/* a change that makes a good description a bad one, and a word that the message must have */
#define REFUSED(good, change, word)                                                           \
	do                                                                                        \
	{                                                                                         \
		DsImageSpec spec = good;                                                              \
		DsStatus status = {0};                                                                \
		DsCode code;                                                                          \
                                                                                              \
		change;                                                                               \
		code = ds_image_spec_check(&spec, &status);                                           \
		CHECK(code == DS_INVALID && strstr(status.message, word) != NULL, "refused: %s (%s)", \
			  #change, status.message);                                                       \
	} while (0)

static void
test_refusals(void)
{
	REFUSED(resnet(20), spec.height = 0, "height");
	REFUSED(resnet(20), spec.channels = 65, "channels");
	REFUSED(resnet(20), spec.kind = 0, "kind");
	REFUSED(resnet(20), spec.patch = 4, "patches");
	REFUSED(resnet(20), spec.layer_count = 0, "layers");
	REFUSED(resnet(20), spec.layer_count--, "last layer");
	REFUSED(resnet(20), spec.layers[3].input = 4, "comes after");
	REFUSED(resnet(20), spec.layers[3].add = 9, "comes after");
	REFUSED(resnet(20), spec.layers[2].add = 0xffffffffu, "add");
	REFUSED(resnet(20), spec.layers[0].kind = 6, "kind");
	REFUSED(resnet(20), spec.layers[0].kind = 0, "no kind");
	REFUSED(resnet(20), spec.layers[0].out = 0, "channels");
	REFUSED(resnet(20), spec.layers[0].stride = 0, "stride");
	REFUSED(resnet(20), spec.layers[0].kernel_width = 0, "window");
	REFUSED(resnet(20), spec.layers[0].padding = 3, "padding");
	REFUSED(resnet(20), spec.layers[0].epsilon = 0, "epsilon");
	REFUSED(resnet(20), spec.layers[0].epsilon = NAN, "epsilon");
	REFUSED(resnet(20), spec.layers[2].out = 24, "another size");
	REFUSED(resnet(18), spec.layers[1].out = 63, "channels");
	REFUSED(resnet(18), spec.layers[1].activation = DS_ACT_RELU, "convolutions alone");
	REFUSED(resnet(18), spec.height = spec.width = 3; spec.layers[0].padding = 0, "window");
	REFUSED(resnet(20), spec.layers[0].kernel_height = spec.layers[0].kernel_width = 64, "window");
	REFUSED(resnet(18), spec.height = spec.width = 4096; spec.layers[0].stride = 1, "too large");
	REFUSED(resnet(20), spec.module_count = 1, "kind");
	REFUSED(resnet(20), spec.module_count = 1;
			spec.modules[0] = ((DsSpecModule){.kind = DS_MODULE_DENSE, .in = 63, .out = 10}),
			"module 0");
	REFUSED(vit(), spec.patch = 5, "do not fill");
	REFUSED(vit(), spec.transformer.patch_dims = 700, "patch_dims");
	REFUSED(vit(), spec.transformer.max_tokens = 6, "max_tokens");
	REFUSED(vit(), spec.transformer.vocabulary = 100, "vocabulary");
	REFUSED(vit(), spec.transformer.pooling = DS_POOL_EOT, "eot_id");
	REFUSED(vit(), spec.transformer.pool_skip = 7, "pool_skip");
	REFUSED(vit(), spec.module_count = 1, "modules");
	REFUSED(vit(), spec.layer_count = 1, "layers");
}

static void
test_shapes(void)
{
	DsImageSpec spec = resnet(50);
	DsImageShape shapes[DS_IMAGE_LAYERS + 1];
	DsImageSpec small = resnet(20);
	DsImageSpec transformer = vit();

	ds_image_shapes(&spec, shapes);
	CHECK(shapes[1].height == 112 && shapes[1].channels == 64, "a stem of 7 x 7 halves");
	CHECK(shapes[2].width == 56, "and so does the pooling");
	CHECK(shapes[spec.layer_count].channels == 2048 && shapes[spec.layer_count].height == 1 &&
			  shapes[spec.layer_count - 1].height == 7,
		  "ResNet-50 ends with 7 x 7 x 2048 and one vector");
	/* without the classifier of 2,049,000; batch norm's means and variances are 2 x 26,560 */
	CHECK(ds_image_spec_parameters(&spec) == 25557032 - 2049000 + 2 * 26560,
		  "ResNet-50 has its %llu parameters",
		  (unsigned long long) ds_image_spec_parameters(&spec));
	ds_image_shapes(&small, shapes);
	CHECK(shapes[small.layer_count - 1].height == 8 && ds_image_spec_dims(&small) == 64,
		  "ResNet-20 ends with 8 x 8 x 64");
	CHECK(ds_image_values(&small) == 3072, "values of a picture");
	CHECK(ds_image_spec_parameters(&small) == 269722 - 650 + 2 * 688,
		  "ResNet-20 has its %llu parameters",
		  (unsigned long long) ds_image_spec_parameters(&small));
	CHECK(ds_image_spec_dims(&transformer) == 64 && ds_image_pooled_dims(&transformer) == 64,
		  "a vit has the components of its transformer");
}

static void
test_tensors(void)
{
	DsImageSpec spec = resnet(20);
	DsImageSpec transformer = vit();
	DsImageTensor tensor;
	DsImageTensor again;
	size_t wrong = 0;

	spec.module_count = 1;
	spec.modules[0] = (DsSpecModule){.kind = DS_MODULE_DENSE, .in = 64, .out = 10, .bias = 1};
	for (size_t i = 0; i < ds_image_spec_tensors(&spec); i++)
		wrong += !ds_image_spec_tensor(&spec, i, &tensor) ||
				 !ds_image_spec_find(&spec, tensor.name, &again) ||
				 memcmp(&tensor, &again, sizeof(tensor)) != 0;
	CHECK(wrong == 0 && ds_image_spec_tensors(&spec) == 97, "97 tensors, by number and by name");
	CHECK(!ds_image_spec_tensor(&spec, 97, &tensor) && !ds_image_spec_find(&spec, "x", &tensor),
		  "and no more");
	CHECK(ds_image_spec_find(&spec, "layer.7.weight", &tensor) == false || tensor.rank == 4,
		  "weights of convolutions have four dimensions");
	CHECK(ds_image_spec_find(&spec, "module.0.weight_t", &tensor) && tensor.shape[0] == 64 &&
			  tensor.shape[1] == 10,
		  "a dense layer the other way round");
	CHECK(!ds_image_spec_find(&spec, "layer.0.weight_t", &tensor), "but no convolution");
	CHECK(ds_image_spec_find(&transformer, "patch.weight", &tensor) && tensor.rank == 2 &&
			  tensor.shape[1] == 768,
		  "patches are a linear layer");
	CHECK(ds_image_spec_find(&transformer, "class.weight", &tensor) && tensor.shape[0] == 64,
		  "the class token");
}

static void
test_json(const char *what, DsImageSpec spec)
{
	DsImageSpec again;
	DsStatus status = {0};
	DsJson root;
	size_t size = ds_image_spec_write(&spec, NULL, 0);
	char *text = malloc(size + 1);
	char small[40];

	CHECK(ds_image_spec_write(&spec, text, size + 1) == size && strlen(text) == size,
		  "%s: %zu bytes of JSON", what, size);
	CHECK(ds_image_spec_write(&spec, small, sizeof(small)) == size && strlen(small) == 39,
		  "%s: cut short where there is no room", what);
	CHECK(ds_json_parse(text, size, "spec", &root, &status) == DS_OK, "%s: it is JSON", what);
	CHECK(ds_image_spec_read(root, &again, &status) == DS_OK &&
			  memcmp(&spec, &again, sizeof(spec)) == 0,
		  "%s: read again, it is the same (%s)", what, status.message);
	free(text);
}

static void
test_bad_json(const char *text, const char *word)
{
	DsImageSpec spec;
	DsStatus status = {0};
	DsJson root;
	DsCode code = ds_json_parse(text, strlen(text), "spec", &root, &status);

	if (code == DS_OK)
		code = ds_image_spec_read(root, &spec, &status);
	CHECK(code == DS_INVALID && strstr(status.message, word) != NULL, "refused: %s (%s)", text,
		  status.message);
}

int
main(void)
{
	DsImageSpec with = resnet(20);
	DsResNet net;
	DsImageSpec spec;
	DsStatus status = {0};

	test_refusals();
	test_shapes();
	test_tensors();
	with.module_count = 2;
	with.modules[0] = (DsSpecModule){.kind = DS_MODULE_DENSE, .in = 64, .out = 10, .bias = 1};
	with.modules[1] = (DsSpecModule){.kind = DS_MODULE_NORMALIZE, .in = 10, .out = 10};
	test_json("resnet", with);
	test_json("vit", vit());
	test_bad_json("[]", "object");
	test_bad_json("{\"version\": 1, \"layers\": 3}", "layers");
	test_bad_json("{\"version\": 1, \"layers\": [{\"kinds\": 1}]}", "kinds");
	test_bad_json("{\"version\": 1, \"layers\": [{\"kind\": \"dense\"}]}", "kind");
	test_bad_json("{\"version\": 2}", "version");
	test_bad_json("{\"version\": 1, \"transformer\": {\"version\": 1}}", "encoder");
	CHECK(!ds_resnet_depth(21, &net), "no ResNet of 21 layers");
	CHECK(ds_resnet_depth(152, &net) && ds_resnet_spec(&net, &spec, NULL, &status) == DS_OK,
		  "ResNet-152 has room (%u layers)", spec.layer_count);
	net.blocks[2] = 100;
	CHECK(ds_resnet_spec(&net, &spec, NULL, &status) == DS_INVALID, "one of 350 has none");
	return unit_done();
}
