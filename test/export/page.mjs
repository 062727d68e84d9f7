// The page of docs/export.md in Chromium, with the packages that it names and a model exported as ONNX
// beside it, for some texts: node page.mjs MODULES DOCS FOLDER EXPECTED CHROMIUM
//
// EXPECTED has lines as test/export/run writes them: a number, "embedding", what ds_encode gave, the
// text.  What the page shows is sent back by a script that is put behind its own.
import { spawn } from 'node:child_process';
import fs from 'node:fs';
import http from 'node:http';
import os from 'node:os';
import path from 'node:path';

const [modules, docs, folder, expected, chromium] = process.argv.slice(2);
const TEXTS = 4;
const page = fs.readFileSync(docs, 'utf8');
const html = page.match(/^```html\n(<!doctype html>.*?)^```$/ms)[1];
const encode = page.match(/^```js\n(\/\/ encode\.mjs\n.*?)^```$/ms)[1];
const imports = { 'onnxruntime-web': '/modules/onnxruntime-web/dist/ort.wasm.min.mjs', '@huggingface/tokenizers': '/modules/@huggingface/tokenizers/dist/tokenizers.min.mjs' };
const spy = `<script type="module">
	const shown = document.getElementById('embedding');
	const tell = (what) => fetch('/shown', { method: 'POST', body: what });
	addEventListener('error', (e) => tell('error: ' + e.message));
	addEventListener('unhandledrejection', (e) => tell('error: ' + e.reason));
	const wait = setInterval(() => { if (shown.textContent) { clearInterval(wait); tell(shown.textContent); } }, 50);
</script>`;
const types = { '.mjs': 'text/javascript', '.js': 'text/javascript', '.wasm': 'application/wasm', '.json': 'application/json' };

const asked = fs.readFileSync(expected, 'utf8').split('\n').map((line) => line.split('\t'))
	.filter((f) => f.length >= 4 && f[1] === 'embedding' && f[3] && !/["&<>\\]/.test(f[3]));
const chosen = Array.from({ length: TEXTS }, (_, i) => asked[Math.floor((i * asked.length) / TEXTS)]);
let text = '';
let shown = () => {};
const server = http.createServer((request, response) => {
	const { pathname } = new URL(request.url, 'http://localhost');
	const send = (type, body) => { response.writeHead(200, { 'content-type': type }); response.end(body); };
	if (pathname === '/shown') {
		let body = '';
		request.on('data', (part) => { body += part; });
		request.on('end', () => { send('text/plain', ''); shown(body); });
		return;
	}
	if (pathname === '/')
		return send('text/html', html.replace('<script type="module">', `<script type="importmap">${JSON.stringify({ imports })}</script>\n<script type="module">`).replace(/value="[^"]*"/, `value="${text}"`) + spy);
	if (pathname === '/encode.mjs') return send('text/javascript', encode);
	const base = pathname.startsWith('/model/') ? folder : path.join(modules, 'node_modules');
	const file = path.join(base, pathname.replace(/^\/(model|modules)\//, ''));
	fs.readFile(file, (error, bytes) => { if (error) { response.writeHead(404); response.end(); } else send(types[path.extname(file)] ?? 'application/octet-stream', bytes); });
});
await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));

let worst = 0;
const profile = fs.mkdtempSync(path.join(os.tmpdir(), 'deepsearch-page-'));
try {
	for (const [, , vector, question] of chosen) {
		text = question;
		const told = new Promise((resolve, reject) => { shown = resolve; setTimeout(() => reject(new Error('the page shows nothing')), 120000).unref(); });
		const browser = spawn(chromium, ['--headless', '--no-sandbox', '--disable-gpu', `--user-data-dir=${profile}`, `http://127.0.0.1:${server.address().port}/`], { stdio: 'ignore' });
		const answer = await told;
		const closed = new Promise((resolve) => browser.once('exit', resolve));
		browser.kill();
		await closed;
		if (answer.startsWith('error')) throw new Error(answer);
		const here = answer.split(' ').map(Number);
		const there = JSON.parse(vector);
		if (here.length !== there.length) throw new Error(`${here.length} numbers, not ${there.length}, of "${question}"`);
		for (let i = 0; i < here.length; i++) worst = Math.max(worst, Math.abs(here[i] - there[i]));
	}
} finally {
	server.close();
	server.closeAllConnections();
	fs.rmSync(profile, { recursive: true, force: true, maxRetries: 5 });
}
if (!(worst < 1e-4)) throw new Error(`differs by ${worst}`);
console.log(`${TEXTS} texts, differs by ${worst.toExponential(1)}`);
