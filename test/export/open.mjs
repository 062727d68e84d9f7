// An exported graph, ONNX in ONNX Runtime or a SavedModel in TensorFlow.js:
// open(MODULES, PATH) gives
//
//   inputs   names, and shapes (-1: any size)
//   output   the name of the output
//   run      from { NAME: { data, dims } }, where data are numbers, to { data, dims }
//   bytes    how large it is
import { createRequire } from 'node:module';
import fs from 'node:fs';
import path from 'node:path';
import { open as openSavedModel } from './saved_model.mjs';

export async function open(modules, where) {
	if (!where.endsWith('.onnx')) {
		const variables = path.join(where, 'variables');
		const files = [path.join(where, 'saved_model.pb'), ...fs.readdirSync(variables).map((name) => path.join(variables, name))];
		return { ...(await openSavedModel(modules, where)), bytes: files.reduce((sum, file) => sum + fs.statSync(file).size, 0) };
	}
	const ort = createRequire(path.resolve(modules) + '/')('onnxruntime-node');
	const session = await ort.InferenceSession.create(where);
	const shape = (name) => session.inputMetadata?.find?.((m) => m.name === name)?.shape.map((size) => (typeof size === 'number' ? size : -1));
	const floats = ['pixel_values', 'features'];
	return {
		inputs: Object.fromEntries(session.inputNames.map((name) => [name, shape(name)])),
		output: session.outputNames[0],
		async run(feeds) {
			const given = Object.fromEntries(Object.entries(feeds).map(([name, { data, dims }]) => [name, floats.includes(name) ? new ort.Tensor('float32', Float32Array.from(data), dims) : new ort.Tensor('int64', BigInt64Array.from(data, BigInt), dims)]));
			return (await session.run(given))[session.outputNames[0]];
		},
		dispose() {},
		bytes: fs.statSync(where).size,
	};
}
