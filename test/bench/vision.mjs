// Pictures a second of ONNX Runtime on a network that vision.py wrote.
//
//   node vision.mjs MODULES DIR SECONDS AT_ONCE
//
// Writes the graph itself (a protobuf by hand): convolutions and batch norms as
// an exporter would, which ONNX Runtime then fuses.  Prints pictures a second of
// processor time, of the median call, and the largest difference to DIR/wanted.
import { createRequire } from 'node:module';
import fs from 'node:fs';

const [modules, directory, ...numbers] = process.argv.slice(2);
const [seconds, atOnce] = numbers.map(Number);
const ort = createRequire(modules + '/')('onnxruntime-node');
const spec = JSON.parse(fs.readFileSync(directory + '/spec.json'));
const floats = (name) => { const b = fs.readFileSync(directory + '/' + name); return new Float32Array(b.buffer, b.byteOffset, b.length / 4); };
const weights = floats('weights');
const pixels = floats('pixels');
const wanted = floats('wanted');

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
	if (Array.isArray(value))
		return field(5, Buffer.concat([text(1, name), ...value.map((v) => integer(8, v)), integer(20, 7)]));
	if (typeof value === 'object')
		return field(5, Buffer.concat([text(1, name), real(2, value.float), integer(20, 1)]));
	return field(5, Buffer.concat([text(1, name), integer(3, value), integer(20, 2)]));
}

const nodes = [];
const initializers = [];
let names = 0;
let at = 0;

function node(op, inputs, attributes = {}) {
	const name = 't' + names++;
	nodes.push(field(1, Buffer.concat([...inputs.map((s) => text(1, s)), text(2, name), text(4, op),
		...Object.entries(attributes).map(([k, v]) => attribute(k, v))])));
	return name;
}
function take(...shape) {
	const n = shape.reduce((a, b) => a * b);
	const name = 'c' + names++;
	initializers.push(field(5, Buffer.concat([...shape.map((d) => integer(1, d)), integer(2, 1), text(8, name),
		field(9, Buffer.from(weights.buffer, weights.byteOffset + 4 * at, 4 * n))])));
	at += n;
	return name;
}

const results = ['x'];
const channels = [spec.channels];
for (const layer of spec.layers) {
	const input = layer.input ?? 0;
	const window = { kernel_shape: [layer.kernel_height, layer.kernel_width], strides: [layer.stride, layer.stride], pads: Array(4).fill(layer.padding ?? 0) };
	let y = results[input];
	if (layer.kind === 'conv') {
		y = node('Conv', [y, take(layer.out, channels[input], layer.kernel_height, layer.kernel_width)], window);
		y = node('BatchNormalization', [y, take(layer.out), take(layer.out), take(layer.out), take(layer.out)], { epsilon: { float: layer.epsilon } });
		if (layer.add) y = node('Add', [y, results[layer.add]]);
		if (layer.activation === 'relu') y = node('Relu', [y]);
	} else if (layer.kind === 'max_pool')
		y = node('MaxPool', [y], window);
	else
		y = node('Flatten', [node('GlobalAveragePool', [y])]);
	results.push(y);
	channels.push(layer.out);
}
const value = (number, name, rank) => field(number, Buffer.concat([text(1, name), field(2, field(1, Buffer.concat([
	integer(1, 1), field(2, Buffer.concat(Array.from({ length: rank }, (_, i) => field(1, text(2, name + i)))))])))]));
const graph = Buffer.concat([...nodes, text(2, 'net'), ...initializers, value(11, 'x', 4), value(12, results.at(-1), 2)]);
const model = Buffer.concat([integer(1, 8), field(8, Buffer.concat([text(1, ''), integer(2, 15)])), field(7, graph)]);

const session = await ort.InferenceSession.create(model, {
	intraOpNumThreads: 1, interOpNumThreads: 1, executionMode: 'sequential', graphOptimizationLevel: 'all',
});
const size = spec.height * spec.width;
const planes = new Float32Array(atOnce * size * 3);
for (let p = 0; p < atOnce; p++)
	for (let i = 0; i < size; i++)
		for (let c = 0; c < 3; c++)
			planes[(p * 3 + c) * size + i] = pixels[(p * size + i) * 3 + c];
const x = new ort.Tensor('float32', planes, [atOnce, 3, spec.height, spec.width]);
const times = [];
const begun = performance.now();
let out;
while (times.length < 5 || performance.now() - begun < seconds * 1000) {
	const before = process.cpuUsage();
	out = (await session.run({ x }))[results.at(-1)];
	const { user, system } = process.cpuUsage(before);
	times.push((user + system) / 1e6);
}
times.sort((a, b) => a - b);
let off = 0;
for (let i = 0; i < out.data.length; i++) off = Math.max(off, Math.abs(out.data[i] - wanted[i]));
console.log((atOnce / times[times.length >> 1]).toFixed(2), off.toExponential(1));
