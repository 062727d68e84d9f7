// Texts for test/bench/tokenizers, and the reference encoders it compares with.
//
//     tokenizers.mjs texts DATA OUT              write the texts
//     tokenizers.mjs compare PACKAGE TOKENIZER TEXTS IDS
//
// PACKAGE is @huggingface/tokenizers (JavaScript) or @anush008/tokenizers (the
// library in Rust that defines the format, as a native module).
import fs from 'node:fs';
import path from 'node:path';
import zlib from 'node:zlib';
import { createRequire } from 'node:module';

const require = createRequire(process.cwd() + '/');

// mulberry32: the same texts everywhere
function generator(seed) {
	return () => {
		seed = (seed + 0x6d2b79f5) | 0;
		let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
		t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
		return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
	};
}

function read(data, name) {
	let bytes = fs.readFileSync(path.join(data, name));
	if (name.endsWith('.gz')) bytes = zlib.gunzipSync(bytes);
	return bytes.toString('utf8').split('\n');
}

function texts(data) {
	const all = [];
	const kinds = {};
	const add = (kind, text) => {
		all.push(typeof text === 'string' ? Buffer.from(text, 'utf8') : text);
		kinds[kind] = (kinds[kind] ?? 0) + 1;
	};
	const every = (kind, lines, step, column) =>
		lines.forEach((line, i) => {
			if (i % step) return;
			const text = column === undefined ? line : line.split('\t')[column];
			if (text) add(kind, text);
		});
	every('chinese', read(data, 'zh-text/lcqmc.dev.tsv'), 3);
	every('chinese', read(data, 'zh-text/qbqtc.dev.jsonl'), 5);
	every('chinese', read(data, 'zh-text/cnsd-sts-train.txt'), 3);
	every('chinese', read(data, 'zh-text/multicpr-ecom.queries.tsv.gz'), 20, 1);
	every('english', read(data, 'fashion/products.tsv.gz'), 10, 7);
	every('english', read(data, 'scifact/corpus.csv.gz'), 3);
	every('english', read(data, 'cranfield/cran.all.1400'), 4);
	every('mixed', read(data, 'fashion/pairs.train.tsv.gz'), 30, 1);

	const random = generator(42);
	const below = (n) => Math.floor(random() * n);
	const pick = (list) => list[below(list.length)];
	const point = (first, last) => {
		for (;;) {
			const c = first + below(last - first + 1);
			if (c < 0xd800 || c > 0xdfff) return String.fromCodePoint(c);
		}
	};
	const words = ['the', 'Running', "don't", "I'll", 'naïve', 'ΣΊΣΥΦΟΣ', 'straße', 'İstanbul', '夏季', '连衣裙',
		'ｶﾞﾝﾀﾞﾑ', 'ＮＩＫＥ', '안녕하세요', 'สวัสดี', 'हिन्दी', 'العربية', 'עברית', '𝔘𝔫𝔦', 'ﬁne', '½', '①', '10,000.50', 'x²',
		'[MASK]', '<mask>', '</s>', '<s>', '[CLS]', '<|endoftext|>', '<extra_id_7>', '<unk>', 'e\u0301', 'ﷺ', '™', '\u2581', '  ', '\t', '—', '…', '«q»', '¿', '!!!', '::', '_a_', '1st', 'CO₂'];
	for (let i = 0; i < 3000; i++)
		add('words', Array.from({ length: 1 + below(12) }, () => pick(words)).join(pick([' ', ' ', '', ', ', '  '])));
	const emoji = ['😀', '👗', '👩‍👧', '🏳️‍🌈', '👍🏽', '🇨🇳', '❤️', '☃', '1️⃣', '🫠', '👨‍👩‍👧‍👦'];
	for (let i = 0; i < 1000; i++)
		add('emoji', Array.from({ length: 1 + below(8) }, () => pick([...emoji, ...words])).join(pick(['', ' '])));
	const marks = () => point(0x300, 0x36f);
	for (let i = 0; i < 1000; i++)
		add('marks', Array.from({ length: 1 + below(20) }, () =>
			pick([() => point(0x61, 0x7a), () => point(0xc0, 0x24f), marks, marks, () => point(0x1100, 0x11ff),
				() => point(0xac00, 0xd7a3), () => point(0x900, 0x97f), () => point(0x5b0, 0x5ea), () => point(0x3041, 0x309f)])()).join(''));
	for (let i = 0; i < 1000; i++)
		add('controls', Array.from({ length: 1 + below(20) }, () =>
			pick([() => point(0, 0x1f), () => point(0x7f, 0xa0), () => point(0x2000, 0x206f), () => point(0x61, 0x7a),
				() => pick(['\ufeff', '\ufffd', '\u00ad', '\u3000', '\u0085', '\u180e', '\u200b', '\r\n', ' '])])()).join(''));
	for (let i = 0; i < 2000; i++)
		add('any', Array.from({ length: 1 + below(24) }, () => pick([() => point(1, 0x7ff), () => point(1, 0xffff), () => point(1, 0x323af)])()).join(''));
	// what the normalization forms, cases and classes do to every character of the plane that most are in
	for (let c = 0; c < 0x10000; c += 16) {
		const run = [];
		for (let i = c; i < c + 16; i++) if (i < 0xd800 || i > 0xdfff) run.push('a' + String.fromCodePoint(i));
		if (run.length) add('plane', run.join(' '));
	}
	for (let i = 0; i < 2000; i++) {
		const bytes = Buffer.from(Array.from({ length: 1 + below(10) }, () => pick(words)).join(' '), 'utf8');
		for (let j = 0; j <= below(4); j++) bytes[below(bytes.length)] = below(256);
		add('invalid', bytes.subarray(0, 1 + below(bytes.length)));
	}
	for (const unit of ['a', ' ', '夏', '夏季 ', 'ab', 'the ', '!', '\u0301', '1', '😀', '\n', "'s", 'aB1!', '▁', '[MASK]'])
		add('long', unit.repeat(Math.floor(20000 / unit.length)));
	for (let i = 0; i < 5; i++)
		add('long', Array.from({ length: 5000 }, () => pick(words)).join(pick(['', ' '])));
	add('long', '');
	return [all, kinds];
}

function readTexts(file) {
	const bytes = fs.readFileSync(file);
	const all = [];
	for (let at = 0; at < bytes.length; ) {
		const n = bytes.readUInt32LE(at);
		all.push(bytes.subarray(at + 4, at + 4 + n).toString('utf8'));
		at += 4 + n;
	}
	return all;
}

function readIds(file) {
	const bytes = fs.readFileSync(file);
	const all = [];
	for (let at = 0; at < bytes.length; ) {
		const n = bytes.readUInt32LE(at);
		all.push(new Uint32Array(bytes.buffer.slice(bytes.byteOffset + at + 4, bytes.byteOffset + at + 4 + 4 * n)));
		at += 4 + 4 * n;
	}
	return all;
}

async function encoder(name, file) {
	const json = JSON.parse(fs.readFileSync(file, 'utf8'));
	json.truncation = null;
	json.padding = null;
	if (name.startsWith('@huggingface')) {
		const { Tokenizer } = require(name);
		const config = path.join(path.dirname(file), 'tokenizer_config.json');
		const tokenizer = new Tokenizer(json, fs.existsSync(config) ? JSON.parse(fs.readFileSync(config, 'utf8')) : {});
		return async (text) => tokenizer.encode(text, { add_special_tokens: true }).ids;
	}
	const { Tokenizer } = require(name);
	const tokenizer = Tokenizer.fromString(JSON.stringify(json));
	return async (text) => (await tokenizer.encode(text, null, { addSpecialTokens: true })).getIds();
}

if (process.argv[2] === 'texts') {
	const [all, kinds] = texts(process.argv[3]);
	const parts = [];
	for (const text of all) {
		const head = Buffer.alloc(4);
		head.writeUInt32LE(text.length);
		parts.push(head, text);
	}
	fs.writeFileSync(process.argv[4], Buffer.concat(parts));
	console.log(`${all.length} texts: ` + Object.entries(kinds).map(([k, n]) => `${n} ${k}`).join(', '));
} else if (process.argv[2] === 'compare') {
	const [, , , name, file, textsFile, idsFile] = process.argv;
	const all = readTexts(textsFile);
	const ours = readIds(idsFile);
	const encode = await encoder(name, file);
	let different = 0;
	let tokens = 0;
	const started = process.cpuUsage();
	const theirs = [];
	for (const text of all) theirs.push(await encode(text));
	const used = process.cpuUsage(started);
	const show = Number(process.env.SHOW ?? 3);
	for (let i = 0; i < all.length; i++) {
		const a = ours[i];
		const b = theirs[i];
		tokens += b.length;
		if (a.length === b.length && a.every((id, j) => id === Number(b[j]))) continue;
		if (different++ < show) {
			let j = 0;
			while (j < a.length && j < b.length && a[j] === Number(b[j])) j++;
			console.log(`    text ${i} ${JSON.stringify(all[i].slice(0, 60))}: at ${j} ours ${a.slice(j, j + 6)} theirs ${Array.from(b).slice(j, j + 6)} of ${a.length}, ${b.length}`);
		}
	}
	const bytes = all.reduce((sum, text) => sum + Buffer.byteLength(text), 0);
	const seconds = (used.user + used.system) / 1e6;
	console.log(`${name}: ${different} of ${all.length} texts different; ${(bytes / 1e6 / seconds).toFixed(1)} MB/s, ${(tokens / 1e6 / seconds).toFixed(2)} million tokens/s`);
	process.exitCode = different ? 1 : 0;
}
