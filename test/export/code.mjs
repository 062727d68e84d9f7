// The code that docs/export.md shows, as the files it names: node code.mjs PAGE FOLDER
import fs from 'node:fs';

const [page, folder] = process.argv.slice(2);
for (const [, code, name] of fs.readFileSync(page, 'utf8').matchAll(/^```js\n(\/\/ ([\w-]+\.mjs)\n.*?)^```$/gms)) fs.writeFileSync(`${folder}/${name}`, code);
