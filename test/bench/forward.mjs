// Tokens a second of ONNX Runtime on the encoder that forward_ours wrote.
//
//   node forward.mjs MODULES DIR LAYERS HIDDEN HEADS SECONDS
//
// Writes the graph itself (a protobuf by hand), f32 and with dynamic
// quantization (per channel, as ONNX Runtime's quantize_dynamic makes it), with
// the fused attention that ONNX Runtime has for such models.  Prints lines like
// those of forward_ours; the last column is the largest difference to its
// embedding (f32), or the cosine to it (int8).
import { createRequire } from 'node:module';
import fs from 'node:fs';

const [modules, directory, ...numbers] = process.argv.slice(2);
const [layers, hidden, heads, seconds] = numbers.map(Number);
const ort = createRequire(modules + '/')('onnxruntime-node');
const weights = fs.readFileSync(directory + '/weights');
const ids = new Uint32Array(fs.readFileSync(directory + '/ids').buffer.slice(0));
const file = fs.readFileSync(directory + '/out');
const wanted = new Float32Array(file.buffer.slice(file.byteOffset, file.byteOffset + file.length));

function varint(n) {
	const out = [];
	let x = BigInt(n);
	while (x > 127n) { out.push(Number(x & 127n) | 128); x >>= 7n; }
	out.push(Number(x));
	return Buffer.from(out);
}
const field = (number, bytes) => Buffer.concat([varint(number * 8 + 2), varint(bytes.length), bytes]);
const text = (number, s) => field(number, Buffer.from(s));
const integer = (number, n) => Buffer.concat([varint(number * 8), varint(n)]);
const real = (number, x) => { const b = Buffer.alloc(4); b.writeFloatLE(x); return Buffer.concat([varint(number * 8 + 5), b]); };

function attribute(name, value) {
	if (typeof value === 'object' && value.float !== undefined)
		return field(5, Buffer.concat([text(1, name), real(2, value.float), integer(20, 1)]));
	return field(5, Buffer.concat([text(1, name), integer(3, value), integer(20, 2)]));
}

class Graph {
	constructor(quantized) { this.nodes = []; this.initializers = []; this.names = 0; this.quantized = quantized; this.rows = new Map(); }
	node(op, inputs, attributes = {}, domain = '', outputs = 1) {
		const names = Array.from({ length: outputs }, () => 't' + this.names++);
		this.nodes.push(field(1, Buffer.concat([
			...inputs.map((s) => text(1, s)), ...names.map((s) => text(2, s)), text(4, op),
			...Object.entries(attributes).map(([k, v]) => attribute(k, v)), text(7, domain)])));
		return outputs === 1 ? names[0] : names;
	}
	// type 1: float, 3: int8, 7: int64
	constant(shape, type, bytes) {
		const name = 'c' + this.names++;
		this.initializers.push(field(5, Buffer.concat([...shape.map((d) => integer(1, d)), integer(2, type), text(8, name), field(9, bytes)])));
		return name;
	}
	floats(shape, array) { return this.constant(shape, 1, Buffer.from(array.buffer, array.byteOffset, array.byteLength)); }
	// w: [outs, ins] as PyTorch has it
	linear(x, w, outs, ins, bias) {
		const turned = new Float32Array(outs * ins);
		for (let o = 0; o < outs; o++) for (let i = 0; i < ins; i++) turned[i * outs + o] = w[o * ins + i];
		if (!this.quantized)
			return this.node('Add', [this.node('MatMul', [x, this.floats([ins, outs], turned)]), this.floats([outs], bias)]);
		const scales = new Float32Array(outs);
		const bytes = Buffer.alloc(ins * outs);
		for (let o = 0; o < outs; o++) {
			let most = 0;
			for (let i = 0; i < ins; i++) most = Math.max(most, Math.abs(w[o * ins + i]));
			scales[o] = most / 127;
			for (let i = 0; i < ins; i++) bytes.writeInt8(Math.round(w[o * ins + i] / scales[o]), i * outs + o);
		}
		if (!this.rows.has(x)) this.rows.set(x, this.node('DynamicQuantizeLinear', [x], {}, '', 3));
		const [q, scale, zero] = this.rows.get(x);
		const product = this.node('MatMulInteger', [q, this.constant([ins, outs], 3, bytes), zero, this.constant([outs], 3, Buffer.alloc(outs))]);
		const factor = this.node('Mul', [scale, this.floats([outs], scales)]);
		return this.node('Add', [this.node('Mul', [this.node('Cast', [product], { to: 1 }), factor]), this.floats([outs], bias)]);
	}
	model(input, output) {
		const value = (number, name, type, rank) => field(number, Buffer.concat([text(1, name), field(2, field(1, Buffer.concat([
			integer(1, type), field(2, Buffer.concat(Array.from({ length: rank }, (_, i) => field(1, text(2, name + i)))))])))]));
		const graph = Buffer.concat([...this.nodes, text(2, 'bert'), ...this.initializers, value(11, input, 7, 2), value(12, output, 1, 2)]);
		const opset = (domain, version) => field(8, Buffer.concat([text(1, domain), integer(2, version)]));
		return Buffer.concat([integer(1, 9), opset('', 20), opset('com.microsoft', 1), field(7, graph)]);
	}
}

function build(quantized) {
	const g = new Graph(quantized);
	const inner = 4 * hidden;
	let at = 0;
	const take = (n) => { const a = new Float32Array(weights.buffer.slice(weights.byteOffset + at, weights.byteOffset + at + 4 * n)); at += 4 * n; return a; };
	const norm = (x, w, b) => g.node('LayerNormalization', [x, w, b], { axis: 2, epsilon: { float: 1e-12 } });
	const table = g.floats([30522, hidden], take(30522 * hidden));
	const positions = g.floats([512, hidden], take(512 * hidden));
	const types = g.floats([hidden], take(2 * hidden).slice(0, hidden));
	const vector = (n) => g.floats([n], take(n));
	const longs = (...v) => g.constant([v.length], 7, Buffer.from(new BigInt64Array(v.map(BigInt)).buffer));
	const length = g.node('Slice', [g.node('Shape', ['ids']), longs(1), longs(2)]);
	let x = g.node('Add', [g.node('Gather', [table, 'ids']), g.node('Slice', [positions, longs(0), length, longs(0)])]);
	x = g.node('Add', [x, types]);
	x = norm(x, vector(hidden), vector(hidden));
	for (let layer = 0; layer < layers; layer++) {
		const w = [vector(hidden), vector(hidden)];
		const parts = [0, 1, 2].map(() => g.linear(x, take(hidden * hidden), hidden, hidden, take(hidden)));
		const attended = g.node('MultiHeadAttention', parts, { num_heads: heads }, 'com.microsoft');
		x = norm(g.node('Add', [g.linear(attended, take(hidden * hidden), hidden, hidden, take(hidden)), x]), ...w);
		const m = [vector(hidden), vector(hidden)];
		let y = g.node('Gelu', [g.linear(x, take(inner * hidden), inner, hidden, take(inner))]);
		y = g.linear(y, take(inner * hidden), hidden, inner, take(hidden));
		x = norm(g.node('Add', [y, x]), ...m);
	}
	g.nodes.push(field(1, Buffer.concat([text(1, x), text(1, longs(1)), text(2, 'out'), text(4, 'ReduceMean'), attribute('keepdims', 0)])));
	return g.model('ids', 'out');
}

const wantedPrecisions = process.env.PRECISIONS ?? 'f32 bf16 int8';
for (const precision of ['f32', 'int8']) {
	if (!(precision === 'int8' ? /int8/ : /f32|bf16/).test(wantedPrecisions)) continue;
	const session = await ort.InferenceSession.create(build(precision === 'int8'), {
		intraOpNumThreads: 1, interOpNumThreads: 1, executionMode: 'sequential', graphOptimizationLevel: 'all',
	});
	for (const [texts, tokens] of [[1, 16], [1, 128], [32, 32], [32, 128]]) {
		const input = new ort.Tensor('int64', BigInt64Array.from(ids.slice(0, texts * tokens), BigInt), [texts, tokens]);
		const times = [];
		const begun = performance.now();
		let out;
		while (times.length < 10 || performance.now() - begun < seconds * 1000) {
			// processor time, as forward_ours takes it
			const before = process.cpuUsage();
			({ out } = await session.run({ ids: input }));
			const { user, system } = process.cpuUsage(before);
			times.push((user + system) / 1000);
			if (times.length >= 3 && performance.now() - begun > 10000 * seconds) break;
		}
		times.sort((a, b) => a - b);
		let off = 0, ab = 0, aa = 0, bb = 0;
		if (tokens === 16)
			wanted.forEach((v, i) => {
				off = Math.max(off, Math.abs(v - out.data[i]));
				ab += v * out.data[i]; aa += v * v; bb += out.data[i] ** 2;
			});
		console.log(precision, texts, tokens, Math.round((texts * tokens * 1000) / times[times.length >> 1]),
			tokens !== 16 ? '-' : precision === 'f32' ? off.toExponential(1) : (ab / Math.sqrt(aa * bb)).toFixed(5), times.length);
	}
}
