// A SavedModel folder under TensorFlow.js: open(MODULES, FOLDER) reads the graph (protobufjs) and the
// checkpoint (a reader of its own), checks what TensorFlow's loaders ask for, puts the variables'
// numbers where they are read, and runs the signature.
//
// TensorFlow.js takes much that TensorFlow refuses, and has no integers of 64 bits; so types are
// followed through the graph here, by what each operation is declared with.
import { createRequire } from 'node:module';
import fs from 'node:fs';
import path from 'node:path';

const PROTO = `syntax = "proto3";
message SavedModel { int64 saved_model_schema_version = 1; repeated MetaGraphDef meta_graphs = 2; }
message MetaGraphDef { MetaInfoDef meta_info_def = 1; GraphDef graph_def = 2; SaverDef saver_def = 3; map<string, CollectionDef> collection_def = 4; map<string, SignatureDef> signature_def = 5; bytes object_graph_def = 7; }
message MetaInfoDef { repeated string tags = 4; string tensorflow_version = 5; bool stripped_default_attrs = 7; }
message SaverDef { string filename_tensor_name = 1; string save_tensor_name = 2; string restore_op_name = 3; int32 max_to_keep = 4; bool sharded = 5; float keep_checkpoint_every_n_hours = 6; int32 version = 7; }
message BytesList { repeated bytes value = 1; }
message CollectionDef { BytesList bytes_list = 2; }
message VariableDef { string variable_name = 1; string initializer_name = 2; string snapshot_name = 3; bool is_resource = 5; string initial_value_name = 6; bool trainable = 7; }
message SignatureDef { map<string, TensorInfo> inputs = 1; map<string, TensorInfo> outputs = 2; string method_name = 3; }
message TensorInfo { string name = 1; int32 dtype = 2; TensorShapeProto tensor_shape = 3; }
message GraphDef { repeated NodeDef node = 1; VersionDef versions = 4; }
message VersionDef { int32 producer = 1; int32 min_consumer = 2; }
message NodeDef { string name = 1; string op = 2; repeated string input = 3; string device = 4; map<string, AttrValue> attr = 5; }
message ListValue { repeated bytes s = 2; repeated int64 i = 3; repeated float f = 4; repeated bool b = 5; repeated int32 type = 6; repeated TensorShapeProto shape = 7; }
message AttrValue { oneof value { ListValue list = 1; bytes s = 2; int64 i = 3; float f = 4; bool b = 5; int32 type = 6; TensorShapeProto shape = 7; TensorProto tensor = 8; } }
message TensorProto { int32 dtype = 1; TensorShapeProto tensor_shape = 2; bytes tensor_content = 4; repeated bytes string_val = 8; }
message TensorShapeProto { message Dim { int64 size = 1; } repeated Dim dim = 2; bool unknown_rank = 3; }
message BundleHeaderProto { int32 num_shards = 1; int32 endianness = 2; VersionDef version = 3; }
message BundleEntryProto { int32 dtype = 1; TensorShapeProto shape = 2; int32 shard_id = 3; int64 offset = 4; int64 size = 5; fixed32 crc32c = 6; }
`;
const [FLOAT, INT32, STRING, INT64, BOOL, RESOURCE] = [1, 3, 7, 9, 10, 20];
const numbers = [FLOAT, INT32, INT64], indices = [INT32, INT64];

// inputs and outputs by the attribute that has their type, or the type; which types an attribute may have;
// "*": as often as the attribute "N" says, or for each type of a list
const same = (allowed, count = 1) => [Array(count).fill('T'), ['T'], { T: allowed }];
const OPERATIONS = {
	AddV2: same(numbers, 2), Sub: same(numbers, 2), Mul: same(numbers, 2), RealDiv: same([FLOAT], 2), Maximum: same(numbers, 2), Minimum: same(numbers, 2),
	BatchMatMulV2: same([FLOAT, INT32, INT64], 2), Abs: same(numbers), Square: same(numbers),
	Sqrt: same([FLOAT]), Rsqrt: same([FLOAT]), Erf: same([FLOAT]), Tanh: same([FLOAT]), Sigmoid: same([FLOAT]), Relu: same(numbers), Cos: same([FLOAT]), Sin: same([FLOAT]), Softmax: same([FLOAT]),
	Identity: same([...numbers, STRING, BOOL]),
	Greater: [['T', 'T'], [BOOL], { T: numbers }], Equal: [['T', 'T'], [BOOL], { T: [...numbers, BOOL, STRING] }], LogicalNot: [[BOOL], [BOOL], {}],
	SelectV2: [[BOOL, 'T', 'T'], ['T'], { T: numbers }],
	Shape: [['T'], ['out_type'], { T: numbers, out_type: indices }], Range: [['Tidx', 'Tidx', 'Tidx'], ['Tidx'], { Tidx: numbers }], BroadcastTo: [['T', 'Tidx'], ['T'], { T: numbers, Tidx: indices }],
	GatherV2: [['Tparams', 'Tindices', 'Taxis'], ['Tparams'], { Tparams: numbers, Tindices: indices, Taxis: indices }, ['batch_dims']],
	Cast: [['SrcT'], ['DstT'], { SrcT: [...numbers, BOOL], DstT: numbers }], ExpandDims: [['T', 'Tdim'], ['T'], { T: numbers, Tdim: indices }], Transpose: [['T', 'Tperm'], ['T'], { T: numbers, Tperm: indices }],
	StridedSlice: [['T', 'Index', 'Index', 'Index'], ['T'], { T: numbers, Index: indices }, ['begin_mask', 'end_mask', 'ellipsis_mask']], Reshape: [['T', 'Tshape'], ['T'], { T: numbers, Tshape: indices }],
	SplitV: [['T', 'Tlen', INT32], ['*T', 'num_split'], { T: numbers, Tlen: indices }, ['num_split']], ConcatV2: [['*T', 'N', 'Tidx'], ['T'], { T: numbers, Tidx: indices }, ['N']],
	Sum: [['T', 'Tidx'], ['T'], { T: numbers, Tidx: indices }, ['keep_dims']], Mean: [['T', 'Tidx'], ['T'], { T: numbers, Tidx: indices }, ['keep_dims']],
	Max: [['T', 'Tidx'], ['T'], { T: numbers, Tidx: indices }, ['keep_dims']], Min: [['T', 'Tidx'], ['T'], { T: numbers, Tidx: indices }, ['keep_dims']],
	Conv2D: [['T', 'T'], ['T'], { T: [FLOAT] }, ['strides', 'padding', 'explicit_paddings']], BiasAdd: same([FLOAT], 2),
	FusedBatchNormV3: [['T', 'U', 'U', 'U', 'U'], ['T', 'U', 'U', 'U', 'U', 'U'], { T: [FLOAT], U: [FLOAT] }, ['epsilon', 'is_training']],
	Pad: [['T', 'Tpaddings'], ['T'], { T: numbers, Tpaddings: indices }], PadV2: [['T', 'Tpaddings', 'T'], ['T'], { T: numbers, Tpaddings: indices }],
	MaxPool: [['T'], ['T'], { T: [FLOAT] }, ['ksize', 'strides', 'padding']], AvgPool: [['T'], ['T'], { T: [FLOAT] }, ['ksize', 'strides', 'padding']],
	Placeholder: [[], ['dtype'], { dtype: numbers }, ['shape']], PlaceholderWithDefault: [['dtype'], ['dtype'], { dtype: [STRING] }, ['shape']], Const: [[], ['dtype'], { dtype: [...numbers, STRING] }, ['value']],
	VarHandleOp: [[], [RESOURCE], { dtype: [FLOAT, INT64] }, ['shape', 'shared_name']], ReadVariableOp: [[RESOURCE], ['dtype'], { dtype: [FLOAT, INT64] }], AssignVariableOp: [[RESOURCE, 'dtype'], [], { dtype: [FLOAT, INT64] }],
	RestoreV2: [[STRING, STRING, STRING], ['*dtypes'], {}, ['dtypes']], SaveV2: [[STRING, STRING, STRING, '*dtypes'], [], {}, ['dtypes']], NoOp: [[], [], {}],
};

function check(condition, what) {
	if (!condition) throw new Error(`SavedModel: ${what}`);
}

// ---- the checkpoint: a table of LevelDB, and the bytes beside it ----

const CRC = Array.from({ length: 256 }, (_, n) => { for (let k = 0; k < 8; k++) n = n & 1 ? (n >>> 1) ^ 0x82f63b78 : n >>> 1; return n >>> 0; });
function masked(bytes) {
	let c = 0xffffffff;
	for (const b of bytes) c = CRC[(c ^ b) & 255] ^ (c >>> 8);
	c = (c ^ 0xffffffff) >>> 0;
	return (((c >>> 15) | (c << 17)) + 0xa282ead8) >>> 0;
}

export function readCheckpoint(types, stem) {
	const index = fs.readFileSync(stem + '.index'), data = fs.readFileSync(stem + '.data-00000-of-00001');
	const varint = (at) => { let n = 0, shift = 1; for (; index[at.p] & 128; shift *= 128) n += (index[at.p++] & 127) * shift; return n + index[at.p++] * shift; };
	check(index.readBigUInt64LE(index.length - 8) === 0xdb4775248b80fb57n, 'the magic number of the index');
	function* entries(offset, size) {
		check(index[offset + size] === 0, 'a block is not compressed');
		check(index.readUInt32LE(offset + size + 1) === masked(index.subarray(offset, offset + size + 1)), 'the checksum of a block');
		const restarts = index.readUInt32LE(offset + size - 4), end = offset + size - 4 - 4 * restarts;
		let key = Buffer.alloc(0);
		for (const at = { p: offset }; at.p < end;) {
			const shared = varint(at), rest = varint(at), length = varint(at), last = key;
			key = Buffer.concat([key.subarray(0, shared), index.subarray(at.p, at.p + rest)]);
			check(last.length === 0 || Buffer.compare(last, key) < 0, 'names are sorted');
			yield [key.toString(), index.subarray(at.p + rest, at.p + rest + length)];
			at.p += rest + length;
		}
	}
	const footer = { p: index.length - 48 };
	varint(footer), varint(footer); // of the block of filters
	const tensors = new Map();
	let end = 0;
	for (const [, handle] of entries(varint(footer), varint(footer))) {
		const at = { p: handle.byteOffset - index.byteOffset };
		for (const [name, value] of entries(varint(at), varint(at))) {
			if (name === '') {
				const header = types.BundleHeaderProto.decode(value);
				check(header.numShards === 1 && header.endianness === 0 && header.version.producer === 1, 'the header of the index');
				continue;
			}
			const entry = types.BundleEntryProto.decode(value);
			const offset = Number(entry.offset), bytes = data.subarray(offset, offset + Number(entry.size));
			check(offset === end && masked(bytes) === entry.crc32c, `the place and checksum of ${name}`);
			end += bytes.length;
			tensors.set(name, { dtype: entry.dtype, shape: entry.shape.dim.map((d) => Number(d.size)), bytes });
		}
	}
	check(end === data.length, 'nothing stands behind the last tensor');
	return tensors;
}

// ---- the graph ----

function checkTypes(nodes) {
	const types = new Map(); // of each node's outputs
	const visiting = new Set();
	const typesOf = (name) => {
		if (types.has(name)) return types.get(name);
		const node = nodes.get(name);
		check(node !== undefined, `a node "${name}" is there`);
		check(!visiting.has(name), `no circle at ${name}`);
		visiting.add(name);
		const declared = OPERATIONS[node.op];
		check(declared !== undefined, `the operation ${node.op} is known`);
		const [ins, outs, allowed, more = []] = declared;
		for (const key of Object.keys(node.attr)) check(key in allowed || more.includes(key), `${node.op} has an attribute ${key}`);
		for (const [key, list] of Object.entries(allowed)) check(list.includes(node.attr[key]?.type), `${name} (${node.op}): ${key} may be ${node.attr[key]?.type}`);
		const expand = (list) => list.flatMap((t, i) => {
			if (typeof t === 'number') return [t];
			if (t === '*dtypes') return node.attr.dtypes.list.type;
			if (t.startsWith('*')) return Array(Number(node.attr[list[i + 1]].i)).fill(node.attr[t.slice(1)].type);
			return t === 'N' || t === 'num_split' ? [] : [node.attr[t].type];
		});
		const wanted = expand(ins), given = node.input.filter((i) => !i.startsWith('^'));
		check(given.length === wanted.length, `${name} (${node.op}) has ${given.length} inputs, not ${wanted.length}`);
		given.forEach((input, i) => {
			const [from, number = '0'] = input.split(':');
			check(typesOf(from)[number] === wanted[i], `${name} (${node.op}): input ${i} is of type ${typesOf(from)[number]}, not ${wanted[i]}`);
		});
		node.input.filter((i) => i.startsWith('^')).forEach((i) => typesOf(i.slice(1)));
		visiting.delete(name);
		types.set(name, expand(outs));
		return types.get(name);
	};
	for (const name of nodes.keys()) typesOf(name);
	return types;
}

// What loaders do: restore_op_name with the file's name fed assigns every variable, by its name
function checkRestore(types, meta, nodes, tensors) {
	const { saverDef: saver } = meta, element = (name) => nodes.get(name.split(':')[0]);
	check(saver.version === 2 && saver.filenameTensorName === 'save/Const:0' && element(saver.filenameTensorName).op === 'PlaceholderWithDefault', 'the saver has a tensor for the file');
	check(element(saver.saveTensorName)?.op === 'Identity', 'the saver saves');
	const restore = nodes.get('save/RestoreV2'), all = nodes.get(saver.restoreOpName);
	check(restore.input[0] === 'save/Const' && all.op === 'NoOp', 'what is restored comes from that file');
	const strings = (name) => nodes.get(name).attr.value.tensor.stringVal.map(String);
	const names = strings(restore.input[1]), slices = strings(restore.input[2]);
	check(slices.length === names.length && slices.every((s) => s === ''), 'whole tensors are restored');
	check(names.length === tensors.size && new Set(names).size === names.length && names.every((n) => tensors.has(n)), 'the names to restore are those of the checkpoint');
	const restored = new Set();
	for (const input of all.input) {
		check(input.startsWith('^'), 'what restores all waits only');
		const assign = nodes.get(input.slice(1)), handle = nodes.get(assign.input[0]), number = Number(assign.input[1].split(':')[1] ?? 0);
		check(assign.op === 'AssignVariableOp' && handle.op === 'VarHandleOp' && assign.input[1].split(':')[0] === restore.name, 'an assignment of what is restored');
		check(names[number] === handle.name && handle.attr.shared_name.s.toString() === handle.name, `${handle.name} gets its own numbers`);
		const tensor = tensors.get(handle.name);
		check(tensor.dtype === handle.attr.dtype.type && tensor.shape.join() === handle.attr.shape.shape.dim.map((d) => Number(d.size)).join(), `${handle.name} has the type and shape of its numbers`);
		restored.add(handle.name);
	}
	const handles = [...nodes.values()].filter((n) => n.op === 'VarHandleOp').map((n) => n.name);
	check(handles.length === restored.size && handles.every((n) => restored.has(n)), 'every variable is restored');
	const defs = meta.collectionDef.variables.bytesList.value.map((b) => types.VariableDef.decode(b));
	check(defs.length === handles.length, 'every variable is in the collection');
	for (const def of defs) {
		check(def.isResource && element(def.variableName).op === 'VarHandleOp' && restored.has(element(def.variableName).name), 'a variable is a resource');
		check(element(def.snapshotName).op === 'ReadVariableOp' && element(def.snapshotName).input[0] === element(def.variableName).name, 'and is read');
		check(element(def.initializerName).op === 'AssignVariableOp' && element(def.initializerName).input[0] === element(def.variableName).name && element(def.initialValueName) === restore, 'and is assigned');
	}
}

// ---- running it ----

export async function open(modules, folder) {
	const require = createRequire(path.resolve(modules) + '/');
	const protobuf = require('protobufjs');
	const root = protobuf.parse(PROTO, new protobuf.Root()).root;
	const types = Object.fromEntries(root.nestedArray.map((t) => [t.name, t]));
	const saved = types.SavedModel.decode(fs.readFileSync(folder + '/saved_model.pb'));
	check(Number(saved.savedModelSchemaVersion) === 1 && saved.metaGraphs.length === 1, 'one graph');
	const [meta] = saved.metaGraphs;
	check(meta.metaInfoDef.tags.join() === 'serve' && meta.graphDef.versions.producer > 0 && meta.objectGraphDef.length === 0, 'it is to be served');
	const nodes = new Map(meta.graphDef.node.map((n) => [n.name, n]));
	check(nodes.size === meta.graphDef.node.length, 'names of nodes are there once');
	for (const name of nodes.keys()) check(/^[A-Za-z0-9.][A-Za-z0-9_.\\/>-]*$/.test(name), `"${name}" may be a name`);
	const outputs = checkTypes(nodes);
	const tensors = readCheckpoint(types, folder + '/variables/variables');
	checkRestore(types, meta, nodes, tensors);
	const signature = meta.signatureDef.serving_default;
	check(signature.methodName === 'tensorflow/serving/predict' && Object.keys(meta.signatureDef).length === 1, 'the signature');
	for (const info of [...Object.values(signature.inputs), ...Object.values(signature.outputs)]) {
		const [node, number] = info.name.split(':');
		check(outputs.get(node)?.[number] === info.dtype, `the signature's ${info.name}`);
	}

	// variables become constants where they are read, as programs that freeze graphs do it; what saves goes
	const weights = [], pieces = [];
	const constant = (name, dtype, shape, bytes) => {
		const count = shape.reduce((a, b) => a * b, 1), long = dtype === INT64;
		check(bytes.length === count * (long ? 8 : 4), `the length of ${name}`);
		const data = Buffer.alloc(4 * count);
		if (long) for (let i = 0; i < count; i++) data.writeInt32LE(Number(bytes.readBigInt64LE(8 * i)), 4 * i);
		else data.set(bytes);
		weights.push({ name, shape, dtype: dtype === FLOAT ? 'float32' : 'int32' });
		pieces.push(data);
	};
	// and attributes that are not written have the value that TensorFlow declares
	const usual = { Conv2D: { dilations: { list: { i: [1, 1, 1, 1] } } } };
	const node = [];
	for (const n of nodes.values()) {
		if (n.name.startsWith('save/') || n.op === 'VarHandleOp') continue;
		const attr = { ...usual[n.op] };
		for (const [key, value] of Object.entries(n.attr)) {
			if (value.list) attr[key] = { list: { i: value.list.i.map(Number) } };
			else if (value.shape) attr[key] = { shape: { dim: value.shape.dim.map((d) => ({ size: Number(d.size) })) } };
			else if (value.value === 's') attr[key] = { s: value.s.toString('base64') };
			else if (value.value === 'i') attr[key] = { i: Number(value.i) };
			else if (value.value === 'tensor') constant(n.name, value.tensor.dtype, value.tensor.tensorShape.dim.map((d) => Number(d.size)), value.tensor.tensorContent);
			else attr[key] = { [value.value]: value[value.value] };
		}
		if (n.op === 'ReadVariableOp') {
			const { dtype, shape, bytes } = tensors.get(n.input[0]);
			constant(n.name, dtype, shape, bytes);
			node.push({ name: n.name, op: 'Const', input: [], attr: { dtype: attr.dtype } });
		} else node.push({ name: n.name, op: n.op, input: n.input, attr });
	}
	const tf = require('@tensorflow/tfjs-core');
	const { loadGraphModel } = require('@tensorflow/tfjs-converter');
	const { setWasmPaths } = require('@tensorflow/tfjs-backend-wasm');
	setWasmPaths(path.join(path.dirname(require.resolve('@tensorflow/tfjs-backend-wasm/package.json')), 'wasm-out') + '/');
	await tf.setBackend('wasm');
	const all = Buffer.concat(pieces);
	const model = await loadGraphModel({ load: async () => ({ modelTopology: { node, versions: { producer: meta.graphDef.versions.producer } }, weightSpecs: weights, weightData: all.buffer.slice(all.byteOffset, all.byteOffset + all.length) }) });
	const [[output, outputInfo]] = Object.entries(signature.outputs);
	const inputs = Object.fromEntries(Object.entries(signature.inputs).map(([name, info]) => [name, info.tensorShape.dim.map((d) => Number(d.size))]));
	return {
		output,
		inputs, // names, and shapes with -1
		// feeds: { name: { data, dims } }; gives the same
		async run(feeds) {
			const given = {};
			for (const [name, { data, dims }] of Object.entries(feeds)) {
				const info = signature.inputs[name];
				given[info.name.split(':')[0]] = tf.tensor(info.dtype === FLOAT ? data : Int32Array.from(data, Number), dims, info.dtype === FLOAT ? 'float32' : 'int32');
			}
			const result = model.execute(given, outputInfo.name.split(':')[0]);
			const data = await result.data(), dims = result.shape;
			tf.dispose([result, ...Object.values(given)]);
			return { data, dims };
		},
		dispose: () => model.dispose(),
	};
}
