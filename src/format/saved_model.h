/*
 * saved_model.h
 *		Writing SavedModel folders of TensorFlow: the graph is made node by node, weights
 *		are variables in a checkpoint beside it.
 *
 *	 saved_model.pb                         the graph, its signature, how it is restored
 *	 variables/variables.index, .data-...   a V2 checkpoint (tf_bundle.h)
 *
 * What the loaders ask for, of the form without objects that TensorFlow 1 wrote and all
 * versions read:
 *
 *	 - one MetaGraphDef with the tag "serve"; tf.saved_model.load() takes the way for such
 *	   files where object_graph_def is absent
 *	 - a SaverDef whose restore_op_name is run with the checkpoint's name fed to
 *	   filename_tensor_name (TensorFlow Serving, the C++ and Java loaders), and whose
 *	   save_tensor_name is not empty (Python refuses others), so that there are nodes that
 *	   save too
 *	 - variables are resources, VarHandleOp and ReadVariableOp, and stand in the collection
 *	   "variables" as VariableDef, which Python makes them captures of the signature from;
 *	   an initializer is named there and never run by these loaders: here it is the
 *	   restoring assignment
 *	 - signatures by name; method "tensorflow/serving/predict" for Serving
 *	 - a Const has a value with a shape that is known
 *	 - versions.producer: what operations mean, as of which TensorFlow
 *
 * Attributes of the value that TensorFlow has by itself are left out (stripped_default_attrs).
 *
 * Formats: tensorflow/core/protobuf/saved_model.proto, meta_graph.proto, saver.proto,
 * tensorflow/core/framework/graph.proto, node_def.proto, attr_value.proto, tensor.proto,
 * variable.proto.  Loaders: tensorflow/cc/saved_model/loader.cc,
 * tensorflow/python/saved_model/load_v1_in_v2.py, tensorflow/python/eager/wrap_function.py.
 */
#ifndef DS_SAVED_MODEL_H
#define DS_SAVED_MODEL_H

#include "format/tf_bundle.h"

/* DataType of TensorFlow */
#define DS_SAVED_FLOAT 1
#define DS_SAVED_INT32 3
#define DS_SAVED_STRING 7
#define DS_SAVED_INT64 9
#define DS_SAVED_BOOL 10
#define DS_SAVED_RESOURCE 20

/* What a node gives.  0: none. */
typedef uint32_t DsSavedValue;

typedef struct DsSavedOutput
{
	const char *node;
	unsigned number; /* of the node's outputs */
	unsigned type;
} DsSavedOutput;

typedef struct DsSavedModel
{
	DsArena *arena;
	DsBuffer nodes; /* fields of the graph */
	DsBuffer signature; /* its inputs and outputs */
	DsSavedOutput *values; /* [0] is not used */
	size_t value_count;
	size_t value_capacity;
	DsTfTensor *variables;
	DsSavedValue *handles; /* of the variables, and what is read of them */
	DsSavedValue *reads;
	size_t variable_count;
	size_t variable_capacity;
	bool failed; /* memory was out */
} DsSavedModel;

extern void ds_saved_model_init(DsSavedModel *model, DsArena *arena);
extern unsigned ds_saved_model_type(const DsSavedModel *model, DsSavedValue value);

/* A node while it is made */
typedef struct DsSavedNode
{
	DsSavedModel *model;
	DsBuffer message;
	char name[DS_TENSOR_NAME_MAX + 64];
} DsSavedNode;

/* name NULL: one is made of the operation */
extern void ds_node_begin(DsSavedModel *model, DsSavedNode *node, const char *op, const char *name);
extern void ds_node_input(DsSavedNode *node, DsSavedValue value);
/* a node that is to run before */
extern void ds_node_after(DsSavedNode *node, const char *name);
extern void ds_node_type(DsSavedNode *node, const char *name, unsigned type);
extern void ds_node_integer(DsSavedNode *node, const char *name, int64_t value);
extern void ds_node_bool(DsSavedNode *node, const char *name, bool value);
extern void ds_node_real(DsSavedNode *node, const char *name, float value);
extern void ds_node_text(DsSavedNode *node, const char *name, const char *value);
extern void ds_node_integers(DsSavedNode *node, const char *name, const int64_t *values,
							 size_t count);
extern void ds_node_shape(DsSavedNode *node, const char *name, const int64_t *shape, size_t rank);
/* The first of its outputs, all of one type, which are numbered on */
extern DsSavedValue ds_node_end(DsSavedNode *node, unsigned type, unsigned outputs);

/* Constants; of integers 32 or 64 bits are written */
extern DsSavedValue ds_saved_model_integers(DsSavedModel *model, unsigned type,
											const int64_t *values, const uint64_t *shape,
											size_t rank);
extern DsSavedValue ds_saved_model_floats(DsSavedModel *model, const float *values,
										  const uint64_t *shape, size_t rank);

/* An input of the signature; -1 in shape: any size */
extern DsSavedValue ds_saved_model_input(DsSavedModel *model, const char *name, unsigned type,
										 const int64_t *shape, size_t rank);
extern void ds_saved_model_output(DsSavedModel *model, DsSavedValue value, const char *name,
								  const int64_t *shape, size_t rank);
/* What is read of a variable whose numbers are the part's: f32 or int64.  One of each name. */
extern DsSavedValue ds_saved_model_variable(DsSavedModel *model, const char *name,
											const DsPlanPart *part, const uint64_t *shape,
											size_t rank);

/*
 * The files; name is the graph's.  Errors: those of ds_tf_bundle_plan(), DS_TOO_LARGE
 * for a graph of 2 GB.
 */
extern DsCode ds_saved_model_plan(DsSavedModel *model, DsPlan *plan, const char *name,
								  const DsTensorSource *source, const DsCancel *cancel,
								  DsStatus *status);

#endif /* DS_SAVED_MODEL_H */
