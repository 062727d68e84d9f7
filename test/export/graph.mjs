// An exported model, ONNX or a SavedModel, beside what the server answers:
//
//   node graph.mjs MODULES FOLDER EXPECTED PRECISION
//
// EXPECTED has a line for each text: number, scores or embedding, the numbers,
// the text, and the second one of a pair.  Texts are put into batches of
// several lengths, padded behind their ends.
import { createRequire } from 'node:module';
import fs from 'node:fs';
import { open } from './open.mjs';

const [modules, folder, expected, precision] = process.argv.slice(2);
const require = createRequire(modules + '/');
const { Tokenizer } = require('@huggingface/tokenizers');
const read = (name) => JSON.parse(fs.readFileSync(folder + '/' + name, 'utf8'));
const about = read('deepsearch.json');
const description = read('tokenizer.json');
const tokenizer = new Tokenizer(description, {});
// the package's splitter "Whitespace" takes words for ASCII, other than the library that it is of
const ascii = description.pre_tokenizer?.type === 'Whitespace';
const onnx = folder + '/model.onnx';
const model = await open(modules, fs.existsSync(onnx) ? onnx : folder);
const rows = fs.readFileSync(expected, 'utf8').split('\n').filter(Boolean).map((line) => line.split('\t'));
if (rows.length < 1000) throw new Error(`${rows.length} texts`);

// the longest of a pair loses tokens first, as the server does it
function encode(text, second) {
	const options = { add_special_tokens: about.special_tokens, return_token_type_ids: true };
	if (second !== undefined) options.text_pair = second;
	let { ids, token_type_ids: types } = tokenizer.encode(text, options);
	types ??= ids.map(() => 0);
	if (ids.length > about.max_tokens) {
		if (second !== undefined) return null;
		const end = about.special_tokens ? ids.slice(-1) : [];
		ids = [...ids.slice(0, about.max_tokens - end.length), ...end];
	}
	return { ids, types };
}

let worst = 0, sum = 0, count = 0, left = 0;
for (let at = 0; at < rows.length; at += 8) {
	const batch = [];
	for (const [number, kind, numbers, text, second] of rows.slice(at, at + 8)) {
		const tokens = kind === 'scores' ? encode(text, second) : encode(about.prompts.query + text);
		if (tokens === null || tokens.ids.length === 0 || (ascii && /[^\x20-\x7e]/.test(text))) left++;
		else batch.push({ tokens, wanted: numbers.match(/[-+\d.e]+/g).map(Number), kind, number, text });
	}
	if (batch.length === 0) continue;
	const length = Math.max(...batch.map((b) => b.tokens.ids.length));
	const tensor = (f) => ({ data: batch.flatMap((b) => Array.from({ length }, (_, i) => f(b, i))), dims: [batch.length, length] });
	const feeds = { input_ids: tensor((b, i) => b.tokens.ids[i] ?? 0), attention_mask: tensor((b, i) => (i < b.tokens.ids.length ? 1 : 0)) };
	if ('token_type_ids' in model.inputs) feeds.token_type_ids = tensor((b, i) => b.tokens.types[i] ?? 0);
	const result = await model.run(feeds);
	const dims = result.dims[1];
	batch.forEach((b, n) => {
		let got = Array.from(result.data.slice(n * dims, (n + 1) * dims));
		if (b.kind === 'scores' && dims > 1) {
			const most = Math.max(...got), powers = got.map((x) => Math.exp(x - most)), all = powers.reduce((a, x) => a + x);
			got = powers.map((x) => x / all);
		}
		if (got.length !== b.wanted.length) throw new Error(`text ${b.number}: ${got.length} numbers, not ${b.wanted.length}`);
		const product = (x, y) => x.reduce((a, v, i) => a + v * y[i], 0);
		const norms = Math.sqrt(product(got, got) * product(b.wanted, b.wanted));
		const difference = precision === 'f32' || b.kind === 'scores' ? Math.max(...got.map((x, i) => Math.abs(x - b.wanted[i]))) : norms > 0 ? 1 - product(got, b.wanted) / norms : Math.sqrt(product(got, got));
		if (!(difference <= worst)) { worst = difference; globalThis.where = `${b.text}: ${got.slice(0, 4)} not ${b.wanted.slice(0, 4)}`; }
		sum += difference; count++;
	});
}
const limit = precision === 'f32' ? 1e-4 : 0.05;
console.log(`${count} texts, largest ${precision === 'f32' ? 'difference' : 'distance'} ${worst.toExponential(1)}, mean ${(sum / count).toExponential(1)}, ${(model.bytes / 1e6).toFixed(2)} MB` + (left > 0 ? `, ${left} left out` : ''));
if (!(worst <= limit) || count < (ascii ? 300 : 900)) { console.log(globalThis.where); process.exit(1); }
