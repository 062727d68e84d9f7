// Pictures whose pixels both sides know: pixels(n, width, height) gives RGB bytes, png() a file of them.
import zlib from 'node:zlib';

export function pixels(n, width, height) {
	const out = new Uint8Array(3 * width * height);
	for (let y = 0, at = 0; y < height; y++)
		for (let x = 0; x < width; x++)
			for (let c = 0; c < 3; c++)
				out[at++] = (128 + 90 * Math.sin((x * (1 + (n % 5)) + y * (c + 1)) / (4 + (n % 7)) + n) + ((x * 7 + y * 13 + c * 5 + n * 31) % 23)) & 255;
	return out;
}

export function png(n, width, height) {
	const rgb = pixels(n, width, height);
	const rows = Buffer.alloc(height * (3 * width + 1));
	for (let y = 0; y < height; y++) rows.set(rgb.subarray(3 * width * y, 3 * width * (y + 1)), y * (3 * width + 1) + 1);
	const chunk = (type, data) => {
		const body = Buffer.concat([Buffer.from(type, 'latin1'), data]), out = Buffer.alloc(body.length + 8);
		out.writeUInt32BE(data.length, 0);
		out.set(body, 4);
		out.writeUInt32BE(crc(body), body.length + 4);
		return out;
	};
	const head = Buffer.alloc(13);
	head.writeUInt32BE(width, 0);
	head.writeUInt32BE(height, 4);
	head.set([8, 2, 0, 0, 0], 8);
	return Buffer.concat([Buffer.from('\x89PNG\r\n\x1a\n', 'latin1'), chunk('IHDR', head), chunk('IDAT', zlib.deflateSync(rows)), chunk('IEND', Buffer.alloc(0))]);
}

function crc(bytes) {
	let c = 0xffffffff;
	for (const b of bytes) {
		c ^= b;
		for (let k = 0; k < 8; k++) c = c & 1 ? (c >>> 1) ^ 0xedb88320 : c >>> 1;
	}
	return (c ^ 0xffffffff) >>> 0;
}

// rows for COPY: node pictures.mjs COUNT WIDTH HEIGHT
if (process.argv[1] === import.meta.filename) {
	const [count, width, height] = process.argv.slice(2).map(Number);
	for (let n = 1; n <= count; n++) console.log(`${n}\t\\\\x${png(n, width, height).toString('hex')}`);
}
