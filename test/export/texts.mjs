// 1,000 texts, Chinese and English, one a line in the form of COPY: node texts.mjs DATA
import fs from 'node:fs';
import path from 'node:path';
import zlib from 'node:zlib';

const data = process.argv[2];
const read = (name) => {
	const file = path.join(data, name);
	if (!fs.existsSync(file)) return [];
	const bytes = fs.readFileSync(file);
	return (name.endsWith('.gz') ? zlib.gunzipSync(bytes) : bytes).toString('utf8').split('\n');
};
const texts = ['red dresses and blue shirts', 'a', 'for', '夏季连衣裙', 'red dress 夏季 shoe', 'A Summer SHOE, for: winter!', 'naïve café 123', '！？。'];
for (const line of read('fashion/queries.dev.tsv').slice(1)) if (line) texts.push(line.split('\t')[2]);
for (const line of read('zh-text/lcqmc.dev.tsv').slice(1, 400)) if (line) texts.push(line.split('\t')[0]);
for (const line of read('fashion/products.tsv.gz').slice(0, 400)) if (line) texts.push(line.split('\t')[7]);
const words = ['red', 'blue', 'dress', 'shirts', 'shoe', 'summer', '冬季', '外套', 'of', 'unheard', '红色'];
for (let i = 0; texts.length < 1000; i++) texts.push(Array.from({ length: 1 + (i * 7) % 13 }, (_, k) => words[(i * 31 + k * k * 17 + k) % words.length]).join(' '));
for (const text of texts.slice(0, 1000)) console.log(text.replaceAll('\\', '/').replaceAll('\t', ' '));
