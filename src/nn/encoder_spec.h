/*
 * encoder_spec.h
 *		What a pretrained encoder is: one description for all families.
 *
 * A reader of model files (src/format) fills a DsEncoderSpec and renames the
 * family's tensors to the neutral names below; the forward pass (encoder.h)
 * knows no family, only this.  The struct has no pointers: it is stored in the
 * file that all backends map, and (as JSON, see ds_spec_write()) in the
 * model's row.  A field that is zero means "not there".
 *
 * The computation, for the tokens t of one text (positions 0 .. n - 1):
 *
 *   x = token.weight[id] + position.weight[position_offset + t] + type.weight[type]
 *   x = norm(x)                                      if embedding_norm
 *   for each layer:
 *         norm_first = 0 (BERT):  x = norm_a(x + attention(x));  x = norm_m(x + mlp(x))
 *         norm_first = 1 (CLIP):  x = x + attention(norm_a(x));  x = x + mlp(norm_m(x))
 *   x = norm(x)                                      if final_norm
 *   v = pooling over the text's tokens
 *   v = module(v), for each module                   dense layers, norms, a head's layers
 *
 *   attention: q, k, v = heads of x Wq + bq, ...; q and k rotated if rotary_dims;
 *                softmax(q k / sqrt(head_dims) + relative bias) v, masked by causal and window;
 *                then Wo and bo
 *   mlp:       down(act(up(x))), or down(act(gate(x)) * up(x)) when gated
 *   norm:      layer normalisation with norm_epsilon, weight, and bias if norm_bias
 *
 * A static encoder (model2vec, StaticEmbedding) has kind DS_ENCODER_STATIC and
 * uses of these fields only vocabulary, static_rows, token_weights, hidden,
 * max_tokens and modules:
 *
 *   v = mean over the text's tokens of token.scale[id] * token.weight[token.row[id]]
 *
 * A transformer over patches (ViT, kind DS_ENCODER_PATCHES) reads rows of
 * patch_dims values instead of ids, and begins with
 *
 *   x = class.weight (token 0, if class_token), or patch.weight p + patch.bias
 *   x = x + position.weight[t]
 *
 * Tensors.  Shapes are row-major as PyTorch prints them; a linear layer's
 * weight is [out, in].  Where a file has it as [in, out] (TensorFlow kernels,
 * OpenCLIP's text_projection), the tensor is stored as it is under the name
 * with "_t" behind it: "layer.0.mlp.up.weight_t" [in, out].  Any floating or
 * integer type; h = hidden, a = heads * head_dims, i = intermediate, L = 0 ..
 * layers - 1:
 *
 *   token.weight                  [vocabulary, h]; static: [static_rows, h]
 *   token.row, token.scale        [vocabulary]  static only: row of each id if static_rows !=
 *                                   vocabulary; weight of each id if token_weights
 *   patch.weight, .bias           [h, patch_dims], [h]  PATCHES, in the place of token.weight
 *   class.weight                  [h]                  if class_token
 *   position.weight               [positions, h]       if positions
 *   type.weight                   [types, h]           if types
 *   relative.weight               [relative_buckets, heads]  if relative_buckets
 *   embedding.norm.weight, .bias  [h]                  if embedding_norm (bias: if norm_bias)
 *   layer.L.attention.norm.weight, .bias  [h]          not in layer 0 if first_norm_absent
 *   layer.L.attention.qkv.weight, .bias   [3 a, h], [3 a]    if qkv_fused: rows of q, k, v
 *   layer.L.attention.{query,key,value}.weight, .bias  [a, h], [a]   otherwise
 *   layer.L.attention.out.weight, .bias   [h, a], [h]
 *   layer.L.mlp.norm.weight, .bias        [h]
 *   layer.L.mlp.gate_up.weight, .bias     [2 i, h], [2 i]  if gated and gate_up_fused: rows of
 *                                   the gate (the half that goes through act), then of up
 *   layer.L.mlp.gate.weight, .bias        [i, h], [i]  if gated and not gate_up_fused
 *   layer.L.mlp.up.weight, .bias          [i, h], [i]  unless gate_up_fused
 *   layer.L.mlp.down.weight, .bias        [h, i], [h]
 *   final.norm.weight, .bias              [h]          if final_norm
 *   module.M.weight, .bias                [out, in], [out]  DS_MODULE_DENSE; [in], [in]  _NORM
 *
 * Biases are there if qkv_bias, out_bias, up_bias (gate and up), down_bias,
 * norm_bias, the module's bias say so.
 *
 * How the families map:
 *   BERT           types 2, positions, embedding_norm, all biases
 *   RoBERTa, XLM-R types 1, position_offset 2 (padding id + 1)
 *   DistilBERT     types 0
 *   MPNet          types 0, position_offset 2, relative_buckets 32, relative_distance 128
 *   ModernBERT     norm_first, first_norm_absent, final_norm, gated, qkv_fused,
 *                    gate_up_fused (the file's order is the one here), rotary_dims =
 *                    head_dims, rotary_base = global_rope_theta, window_base =
 *                    local_rope_theta, window = local_attention, global_every =
 *                    global_attn_every_n_layers
 *   NomicBERT      types 2, gated with SiLU, qkv_fused, up = fc11, gate = fc12, rotary_dims =
 *                    head_dims * rotary_emb_fraction, rotary_base
 *   CLIP, OpenCLIP positions, norm_first, final_norm, causal, pooling EOT, a dense module
 *                    without bias (text_projection)
 *   ViT            patches, class_token, positions, norm_first, final_norm, pooling CLS
 *   CLIP's vision tower  the same with embedding_norm, and a dense module
 *   cross-encoder  pooling CLS, modules dense + tanh, dense (BERT: pooler, classifier);
 *                    scores = 1
 */
#ifndef DS_ENCODER_SPEC_H
#define DS_ENCODER_SPEC_H

#include <stddef.h>
#include <stdint.h>

#include "base/json.h"
#include "base/status.h"

#define DS_SPEC_VERSION 1
#define DS_SPEC_MODULES 8
#define DS_SPEC_NAME 64 /* bytes of a tensor's name, the zero byte included */

/* limits, far above any model in use; they bound every product of sizes */
#define DS_SPEC_MAX_VOCABULARY (1 << 22)
#define DS_SPEC_MAX_HIDDEN 16000 /* the dimensions of an embedding */
#define DS_SPEC_MAX_LAYERS 128
#define DS_SPEC_MAX_HEADS 256
#define DS_SPEC_MAX_PATCH 65536
#define DS_SPEC_MAX_HEAD_DIMS 256
#define DS_SPEC_MAX_INTERMEDIATE 65536
#define DS_SPEC_MAX_POSITIONS (1 << 20)
#define DS_SPEC_MAX_TOKENS 65536

typedef enum DsEncoderKind
{
	DS_ENCODER_TRANSFORMER = 1,
	DS_ENCODER_STATIC,
	DS_ENCODER_PATCHES /* a transformer over the patches of a picture */
} DsEncoderKind;

typedef enum DsActivation
{
	DS_ACT_IDENTITY = 0,
	DS_ACT_GELU, /* x (1 + erf(x / sqrt 2)) / 2: "gelu" */
	DS_ACT_GELU_TANH, /* the approximation by tanh: "gelu_new", "gelu_pytorch_tanh", "gelu_fast" */
	DS_ACT_QUICK_GELU, /* x / (1 + exp(-1.702 x)): "quick_gelu" */
	DS_ACT_RELU,
	DS_ACT_SILU, /* x / (1 + exp(-x)): "silu", "swish" */
	DS_ACT_TANH,
	DS_ACT_SIGMOID,
	DS_ACTIVATIONS
} DsActivation;

/*
 * A set: several poolings are concatenated, in this order (that of
 * sentence-transformers).
 */
typedef enum DsPooling
{
	DS_POOL_CLS = 1, /* the first token */
	DS_POOL_MAX = 2,
	DS_POOL_MEAN = 4,
	DS_POOL_MEAN_SQRT = 8, /* the sum over the root of the number of tokens */
	DS_POOL_WEIGHTED_MEAN = 16, /* weights 1, 2, ..., n */
	DS_POOL_LAST = 32, /* the last token */
	DS_POOL_EOT = 64 /* the first token whose id is eot_id; where there is none, the last */
} DsPooling;

typedef enum DsModuleKind
{
	DS_MODULE_DENSE = 1, /* act(W v + b) */
	DS_MODULE_NORM, /* layer normalisation */
	DS_MODULE_NORMALIZE, /* to length one; a vector of zeros stays */
	DS_MODULE_SLICE /* the first out of in components (Matryoshka) */
} DsModuleKind;

typedef struct DsSpecModule
{
	uint32_t kind; /* DsModuleKind */
	uint32_t in; /* components before; must fit what comes before it */
	uint32_t out; /* and behind */
	uint32_t activation; /* DENSE: DsActivation */
	uint32_t bias; /* DENSE, NORM: has one */
	float epsilon; /* NORM */
} DsSpecModule;

typedef struct DsEncoderSpec
{
	uint32_t version; /* DS_SPEC_VERSION */
	uint32_t kind; /* DsEncoderKind */
	char family[32]; /* for people: "bert", "modernbert", ...; printable ASCII */

	/* embeddings */
	uint32_t vocabulary; /* token ids are below it */
	uint32_t patch_dims; /* PATCHES: values of a patch */
	uint32_t patch_bias;
	uint32_t class_token; /* PATCHES: a learned token comes before the patches */
	uint32_t hidden;
	uint32_t positions; /* rows of the table of absolute positions */
	uint32_t position_offset; /* row of a text's first token */
	uint32_t types; /* rows of the table of token types */
	uint32_t embedding_norm;

	/* layers */
	uint32_t layers;
	uint32_t heads;
	uint32_t head_dims;
	uint32_t intermediate;
	uint32_t activation; /* DsActivation */
	uint32_t gated;
	uint32_t norm_first;
	uint32_t first_norm_absent; /* layer 0 has no norm before its attention */
	uint32_t final_norm;
	float norm_epsilon;
	uint32_t norm_bias;
	uint32_t qkv_bias;
	uint32_t out_bias;
	uint32_t up_bias;
	uint32_t down_bias;
	uint32_t qkv_fused; /* how the tensors are stored, see above */
	uint32_t gate_up_fused;

	/* attention */
	uint32_t causal; /* a token sees those before it, and itself */
	/*
	 * Layers L with L % global_every != 0 are local: a token sees those at most
	 * window / 2 before and behind it.  Zero: all layers are global.
	 */
	uint32_t window;
	uint32_t global_every;
	/* T5's buckets, bidirectional: half of them for each direction */
	uint32_t relative_buckets;
	uint32_t relative_distance; /* from here on all in the last bucket */
	/*
	 * Rotation of the first rotary_dims components of each head: component c
	 * together with c + rotary_dims / 2, or with its neighbour if interleaved, by
	 * the angle t * base^(-2 c / rotary_dims).
	 */
	uint32_t rotary_dims;
	uint32_t rotary_interleaved;
	float rotary_base; /* theta */
	float window_base; /* theta of local layers; zero: rotary_base */
	/*
	 * Dynamic NTK scaling (nomic): in a text of n > rotary_trained tokens the base
	 * is base * (s n / rotary_trained - (s - 1))^(rotary_dims / (rotary_dims - 2)).
	 */
	float rotary_scaling; /* s; zero: none */
	uint32_t rotary_trained;

	/* from tokens to a vector */
	uint32_t max_tokens; /* longer texts are cut before; special tokens included */
	uint32_t pooling; /* a set of DsPooling */
	uint32_t pool_skip; /* MAX and the means leave out so many tokens at the beginning */
	uint32_t eot_id;
	uint32_t scores; /* the result are scores of a (pair of) text(s), not an embedding */
	uint32_t module_count;
	DsSpecModule modules[DS_SPEC_MODULES];

	/* static encoders */
	uint32_t static_rows; /* rows of token.weight */
	uint32_t token_weights; /* there is a token.scale */

	/* special tokens as the model's files name them; DS_SPEC_NO_ID: none.  The forward pass
	 * needs none of them (there is no padding), they are kept for exporters. */
	uint32_t pad_id;
	uint32_t cls_id;
	uint32_t sep_id;
} DsEncoderSpec;

#define DS_SPEC_NO_ID 0xffffffffu

/* All zero, but for version, kind, and the ids of special tokens, which are none */
extern void ds_spec_init(DsEncoderSpec *spec, DsEncoderKind kind);

/*
 * Does it describe something that can be computed?  DS_INVALID with the
 * field's name when values contradict each other or are out of the limits.
 * Everything else in this room relies on it.
 */
extern DsCode ds_spec_check(const DsEncoderSpec *spec, DsStatus *status);

/* components of the result: those behind the last module */
extern size_t ds_spec_dims(const DsEncoderSpec *spec);
/* ... and before the first */
extern size_t ds_spec_pooled_dims(const DsEncoderSpec *spec);

/*
 * The tensors that belong to a checked spec, numbered 0 .. ds_spec_tensors() - 1
 * in a fixed order.
 */
typedef struct DsSpecTensor
{
	char name[DS_SPEC_NAME];
	uint32_t rank; /* 1 or 2 */
	uint32_t shape[2]; /* shape[1] = 1 when rank is 1 */
	bool linear; /* may be stored under name "_t" with the shape reversed */
} DsSpecTensor;

extern size_t ds_spec_tensors(const DsEncoderSpec *spec);
extern bool ds_spec_tensor(const DsEncoderSpec *spec, size_t number, DsSpecTensor *tensor);
/*
 * The tensor of a name; a name with "_t" behind it finds the linear layer with its
 * shape reversed, and its name as asked for.
 */
extern bool ds_spec_find(const DsEncoderSpec *spec, const char *name, DsSpecTensor *tensor);
/* values of all of them together */
extern uint64_t ds_spec_parameters(const DsEncoderSpec *spec);

/*
 * As one JSON object, with the names of the fields here, activations and
 * poolings as words, and without the fields that are zero.  Returns the length
 * that it needs without the zero byte; out may be NULL if size is 0, and is cut
 * (but ends with a zero byte) if size is too small.
 */
extern size_t ds_spec_write(const DsEncoderSpec *spec, char *out, size_t size);

/*
 * And back: DS_INVALID with the key for a member that no field has, or whose
 * value does not fit, and for what ds_spec_check() refuses.
 */
extern DsCode ds_spec_read(DsJson object, DsEncoderSpec *spec, DsStatus *status);

/*
 * The bucket of a distance (key - query), T5's scheme: one half of the buckets
 * for keys behind the query; half of these for single distances, the others
 * for ranges that grow like a logarithm up to most.
 */
extern uint32_t ds_spec_relative_bucket(int64_t distance, uint32_t buckets, uint32_t most);

/* "gelu" and so on, as in the JSON; NULL when the number is none */
extern const char *ds_activation_name(uint32_t activation);

#endif /* DS_ENCODER_SPEC_H */
