// Files of TensorFlow Lite in Google's runtime, of ONNX in ONNX Runtime and SavedModels in
// TensorFlow.js, beside what ours computed.
//
//   node tflite.mjs MODULES OTHERS DIR < lines of ours
//
// MODULES is a folder with node_modules/@litertjs/core, OTHERS one with onnxruntime-node and
// what saved_model.mjs needs.  Prints for each file the largest difference of a component (of the
// vector's largest, where that is above 1), the least cosine, and milliseconds a text
// (processor time); ends with 1 where a file is further off than its precision may be.
import fs from 'node:fs';
import path from 'node:path';
import { load } from './litert.mjs';
import { open } from './open.mjs';

const [modules, runtime, directory] = process.argv.slice(2);
const litert = await load(modules);

const words = (file, type) => { const b = fs.readFileSync(path.join(directory, file)); return new type(b.buffer.slice(b.byteOffset, b.byteOffset + b.length)); };
// a model: the type of its inputs, run(them), delete()
async function graph(file, n) {
	const model = await open(runtime, path.join(directory, file));
	const names = ['input_ids', 'attention_mask', 'token_type_ids'];
	return {
		type: Int32Array,
		async run(given) {
			const feeds = {};
			for (const name of Object.keys(model.inputs)) feeds[name] = { data: Array.from({ length: n }, (_, i) => given[names.indexOf(name) * n + i] ?? 0), dims: [1, n] };
			return (await model.run(feeds)).data;
		},
		delete: model.dispose,
		bytes: model.bytes,
	};
}
async function tflite(file, words) {
	const model = await litert.loadAndCompile(new Uint8Array(fs.readFileSync(path.join(directory, file))), { accelerator: 'wasm' });
	const inputs = model.getInputDetails();
	return {
		type: inputs[0].dtype === 'float32' ? Float32Array : Int32Array,
		async run(given) {
			let at = 0;
			const tensors = inputs.map((input) => {
				const n = input.shape.reduce((a, b) => a * b, 1);
				return new litert.Tensor(given.slice(at, (at += n)), [...input.shape]);
			});
			if (at !== words) throw new Error(`${file}: inputs of ${at} words, not ${words}`);
			const [out] = await model.run(tensors);
			const got = await out.data();
			[...tensors, out].forEach((tensor) => tensor.delete());
			return got;
		},
		delete: () => model.delete(),
		bytes: fs.statSync(path.join(directory, file)).size,
	};
}
const bounds = { onnx: { off: 1e-4, cosine: 0.999999 }, saved_model: { off: 1e-4, cosine: 0.999999 }, f32: { off: 1e-4, cosine: 0.999999 }, f16: { off: 1e-3, cosine: 0.99999 }, int8: { off: Infinity, cosine: 0.99 } };
let bad = 0;
for (const line of fs.readFileSync(0, 'utf8').trim().split('\n')) {
	const [name, precision, size, texts, dims, tokens] = line.split(' ').map((s, i) => (i < 2 ? s : Number(s)));
	const file = { onnx: `${name}.f32.onnx`, saved_model: `${name}.saved_model` }[precision] ?? `${name}.${precision}.tflite`;
	let model;
	try {
		model = await (precision === 'onnx' || precision === 'saved_model' ? graph(file, tokens) : tflite(file, size));
	} catch (e) {
		console.log(`${name} ${precision}: ${e.message ?? e}`);
		bad++;
		continue;
	}
	const results = words(`${name}.out`, Float32Array);
	const given = words(`${name}.in`, model.type);
	let off = 0, least = 1, time = 0, nan = false;
	for (let text = 0; text < texts; text++) {
		const before = process.cpuUsage();
		const got = await model.run(given.slice(text * size, (text + 1) * size));
		const used = process.cpuUsage(before);
		time += (used.user + used.system) / 1000;
		if (got.length !== dims) throw new Error(`${file}: ${got.length} components, not ${dims}`);
		let ab = 0, aa = 0, bb = 0, unit = 1;
		for (let i = 0; i < dims; i++) unit = Math.max(unit, Math.abs(results[text * dims + i]));
		for (let i = 0; i < dims; i++) {
			const want = results[text * dims + i];
			nan ||= !Number.isFinite(got[i]);
			off = Math.max(off, Math.abs(want - got[i]) / unit);
			ab += want * got[i]; aa += want * want; bb += got[i] * got[i];
		}
		// a score is no direction
		if (aa > 0 && dims > 1) least = Math.min(least, ab / Math.sqrt(aa * bb));
	}
	const wrong = nan || off > bounds[precision].off || !(least >= bounds[precision].cosine);
	bad += wrong;
	console.log(`${name} ${precision}: off by ${off.toExponential(1)}, cosine ${least.toFixed(6)}, ${(time / texts).toFixed(2)} ms, ${model.bytes} bytes${nan ? ', not finite' : ''}${wrong ? ' -- WRONG' : ''}`);
	model.delete();
}
process.exit(bad > 0 ? 1 : 0);
