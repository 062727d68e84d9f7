// Exported towers beside what the server answers, line by line in JSON:
//
//   node towers.mjs MODULES CODE FOLDER EXPECTED KIND [PRECISION]
//
// KIND: ids     {text, ids}: the function of the docs (CODE/ngrams.mjs) gives these ids
//       graph   {text?, picture?, features?, embedding}: model.onnx, or the SavedModel, gives these
//               embeddings, of a picture that pictures.mjs makes by its number (null: there is none)
//       encode  {text, embedding}: the same of texts, by the function of the docs (CODE/encode-ngrams.mjs)
//       tflite  {text?, features?, embedding}: model.tflite does, in Google's runtime
import { createRequire } from 'node:module';
import fs from 'node:fs';
import { pathToFileURL } from 'node:url';
import { load } from './litert.mjs';
import { open as openGraph } from './open.mjs';
import { pixels } from './pictures.mjs';

const [modules, code, folder, expected, kind, precision = 'f32'] = process.argv.slice(2);
const rows = fs.readFileSync(expected, 'utf8').split('\n').filter(Boolean).map((line) => JSON.parse(line));
const read = (name) => fs.readFileSync(folder + '/' + name);
const json = (name) => JSON.parse(read(name).toString('utf8'));
const { ngrams } = await import(pathToFileURL(code + '/ngrams.mjs'));
const tokenize = fs.existsSync(folder + '/ngrams.json') ? ngrams(json('ngrams.json'), new Uint8Array(read('ngrams.bin'))) : null;
const onnx = folder + '/model.onnx';
if (rows.length < 50) throw new Error(`${rows.length} rows`);

let worst = 0, least = 1;
function compare(row, got) {
	const wanted = row.embedding;
	if (got.length !== wanted.length) throw new Error(`${got.length} numbers, not ${wanted.length}`);
	const product = (x, y) => x.reduce((a, v, i) => a + v * y[i], 0);
	const unit = Math.max(1, ...wanted.map(Math.abs));
	const norms = Math.sqrt(product(got, got) * product(wanted, wanted));
	const off = Math.max(...wanted.map((x, i) => Math.abs(x - got[i]))) / unit;
	if (!(off <= worst)) worst = off;
	const cosine = norms > 0 ? product(got, wanted) / norms : off > 1e-6 ? 0 : 1;
	if (!(cosine >= least)) least = cosine;
}

if (kind === 'ids') {
	let count = 0;
	for (const { text, ids } of rows) {
		const got = tokenize(text);
		count += got.length;
		if (got.length !== ids.length || got.some((id, i) => id !== ids[i])) {
			console.log(JSON.stringify({ text, got, ids }).slice(0, 2000));
			process.exit(1);
		}
	}
	console.log(`${rows.length} texts, ${count} ids, all the same`);
	process.exit(0);
}
if (kind === 'encode') {
	const ort = createRequire(modules + '/')('onnxruntime-node');
	const { open } = await import(pathToFileURL(code + '/encode-ngrams.mjs'));
	const encode = await open(ort, async (name) => read(name));
	for (const row of rows) compare(row, Array.from(await encode(row.text)));
} else if (kind === 'graph') {
	const model = await openGraph(modules, fs.existsSync(onnx) ? onnx : folder);
	for (let at = 0; at < rows.length; at += 7) {
		const batch = rows.slice(at, at + 7), feeds = {};
		if (tokenize !== null) {
			const ids = batch.map((row) => (row.text == null ? [] : tokenize(row.text)));
			const length = Math.max(1, ...ids.map((i) => i.length));
			const tensor = (f) => ({ data: ids.flatMap((list) => Array.from({ length }, (_, i) => f(list, i))), dims: [batch.length, length] });
			feeds.input_ids = tensor((list, i) => list[i] ?? 0);
			feeds.attention_mask = tensor((list, i) => (i < list.length ? 1 : 0));
		}
		if ('pixel_values' in model.inputs) {
			const shape = model.inputs.pixel_values;
			const config = json('preprocessor_config.json');
			const size = config.do_center_crop ? config.crop_size : config.do_resize ? config.size : { height: shape[2], width: shape[3] };
			const { height, width } = size, plane = height * width;
			const values = new Float32Array(batch.length * 3 * plane);
			batch.forEach((row, b) => {
				if (row.picture == null) return values.fill(9, b * 3 * plane, (b + 1) * 3 * plane); // counts for nothing
				const rgb = pixels(row.picture, width, height);
				for (let i = 0; i < plane; i++)
					for (let c = 0; c < 3; c++) values[(b * 3 + c) * plane + i] = (rgb[3 * i + c] * config.rescale_factor - config.image_mean[c]) / config.image_std[c];
			});
			feeds.pixel_values = { data: values, dims: [batch.length, 3, height, width] };
		}
		if ('image_mask' in model.inputs) feeds.image_mask = { data: batch.map((row) => (row.picture == null ? 0 : 1)), dims: [batch.length] };
		if ('features' in model.inputs) feeds.features = { data: Float32Array.from(batch.flatMap((row) => row.features)), dims: [batch.length, batch[0].features.length] };
		const embedding = await model.run(feeds);
		if (model.output !== 'embedding') throw new Error(`the output is "${model.output}"`);
		const dims = embedding.dims[1];
		batch.forEach((row, b) => compare(row, Array.from(embedding.data.slice(b * dims, (b + 1) * dims))));
	}
} else {
	const litert = await load(modules + '/litert');
	const model = await litert.loadAndCompile(new Uint8Array(read('model.tflite')), { accelerator: 'wasm' });
	for (const row of rows) {
		const tensors = model.getInputDetails().map((input) => {
			const n = input.shape.reduce((a, b) => a * b, 1);
			const ids = row.text == null ? [] : tokenize(row.text);
			if (input.name.includes('features')) return new litert.Tensor(Float32Array.from(row.features), [...input.shape]);
			if (ids.length > n) throw new Error(`a text of ${ids.length} tokens`);
			return new litert.Tensor(Int32Array.from({ length: n }, (_, i) => (input.name.includes('mask') ? (i < ids.length ? 1 : 0) : ids[i] ?? 0)), [...input.shape]);
		});
		const [out] = await model.run(tensors);
		compare(row, Array.from(await out.data()));
		[...tensors, out].forEach((tensor) => tensor.delete());
	}
}
const bounds = { f32: [1e-4, 0.999999], fp16: [1e-2, 0.9999], int8: [Infinity, 0.99] }[precision];
console.log(`${rows.length} rows, off by ${worst.toExponential(1)}, least cosine ${least.toFixed(6)}`);
process.exit(worst <= bounds[0] && least >= bounds[1] ? 0 : 1);
