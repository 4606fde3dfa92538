// Bundles page.jsx, opens it in headless Chromium for each dashboard and theme, writes PNG files.
// Words: a JSON object {modules, chromium, base, from, to, boards: {name: path}, schemes, width,
// out}.
import { createServer } from 'node:http';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const words = JSON.parse(process.argv[2]);
const load = createRequire(join(words.modules, 'package.json'));
const esbuild = load('esbuild');
const puppeteer = load('puppeteer-core');
const sharp = load('sharp');
const here = new URL('.', import.meta.url).pathname;
const SIZE_MAX = 300 * 1024;

const work = mkdtempSync(join(tmpdir(), 'hearth-pictures-'));
await esbuild.build({
  entryPoints: [join(here, 'page.jsx')],
  bundle: true,
  outdir: work,
  format: 'iife',
  nodePaths: [words.modules],
  loader: {
    '.woff2': 'dataurl',
    '.woff': 'empty',
    '.svg': 'text',
    '.ttf': 'empty',
    '.png': 'empty',
  },
  define: { 'process.env.NODE_ENV': '"production"', global: 'window' },
  jsx: 'automatic',
  logLevel: 'error',
});

const index = `<!doctype html><meta charset=utf-8><link rel=stylesheet href=/page.css>
<script>window.__grafana_public_path__ = '/public/'; window.process = {env: {}};</script>
<body style="margin:0"><div id=root></div><script src=/page.js></script>`;
const icons = join(words.modules, '@grafana/ui/dist/public');
const server = createServer((request, answer) => {
  const path = new URL(request.url, 'http://x').pathname;
  const file = path.startsWith('/public/') ? join(icons, path.slice(8)) : join(work, path.slice(1));
  const type =
    { js: 'text/javascript', css: 'text/css', svg: 'image/svg+xml' }[path.split('.').pop()] ??
    'text/html';
  if (path !== '/' && (path.includes('..') || !existsSync(file)))
    return answer.writeHead(404).end();
  answer.writeHead(200, { 'content-type': type }).end(path === '/' ? index : readFileSync(file));
}).listen(0, '127.0.0.1');
await new Promise((done) => server.once('listening', done));

const browser = await puppeteer.launch({
  executablePath: words.chromium,
  headless: true,
  userDataDir: join(work, 'profile'),
  args: [
    '--no-sandbox',
    '--disable-gpu',
    '--disable-background-networking',
    '--disable-component-update',
    '--disable-sync',
  ],
});
const out = {};
for (const [name, path] of Object.entries(words.boards)) {
  for (const scheme of words.schemes) {
    const page = await browser.newPage();
    const errors = [];
    page.on('pageerror', (error) => errors.push(String(error)));
    await page.setViewport({ width: words.width, height: 1000 });
    await page.goto(`http://127.0.0.1:${server.address().port}/`);
    const dashboard = JSON.parse(readFileSync(path, 'utf8'));
    const { base, from, to, width } = words;
    const found = await page.evaluate((w) => window.draw(w), {
      dashboard,
      base,
      from,
      to,
      scheme,
      width,
    });
    const shot = await (await page.$('#board')).screenshot();
    for (let colours = 256; ; colours /= 2) {
      // Fewer colours, if it must be, rather than a large file.
      const png = await sharp(shot)
        .png({ palette: true, colours, effort: 10, dither: 0 })
        .toBuffer();
      if (png.length > SIZE_MAX && colours > 16) continue;
      found.bytes = png.length;
      writeFileSync(join(words.out, `dashboard-${name}-${scheme}.png`), png);
      break;
    }
    out[`${name}-${scheme}`] = { ...found, errors };
    await page.close();
  }
}
await browser.close();
server.close();
rmSync(work, { recursive: true, force: true });
console.log(JSON.stringify(out));
