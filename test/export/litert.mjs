// Google's runtime of TensorFlow Lite under node: load(FOLDER with node_modules/@litertjs/core)
import fs from 'node:fs';
import path from 'node:path';
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';

export async function load(modules) {
	const core = path.join(path.resolve(modules), 'node_modules/@litertjs/core');
	// What the package asks of a browser: a global, and a way to load a script
	globalThis.self = globalThis;
	globalThis.importScripts = (script) => {
		const code = new Function('require', '__filename', '__dirname', fs.readFileSync(script, 'utf8') + '\nreturn ModuleFactory;');
		globalThis.ModuleFactory = code(createRequire(script), script, path.dirname(script));
	};
	const litert = await import(pathToFileURL(path.join(core, 'dist/index.js')));
	await litert.loadLiteRt(path.join(core, 'wasm'));
	return litert;
}
