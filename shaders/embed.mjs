// Embeds shaders/*.wgsl into one TypeScript module, so that Node, browsers and bundlers see plain ESM.
// Usage: node shaders/embed.mjs [--check]      --check writes nothing and exits 1 when the module is out of date
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const folder = dirname(fileURLToPath(import.meta.url));
const target = join(folder, "../src/backend/webgpu/shaders.generated.ts");

/** A property of the module: the file's name without its suffix, and its text as a template literal. */
function property(file) {
  const name = file.replace(/\.wgsl$/, "");
  const key = /^[A-Za-z_]\w*$/.test(name) ? name : JSON.stringify(name);
  const text = readFileSync(join(folder, file), "utf8").replaceAll("\r\n", "\n");
  return `  ${key}: \`${text.replace(/[\\`]|\$(?=\{)/g, "\\$&")}\`,\n`;
}

const files = readdirSync(folder)
  .filter((file) => file.endsWith(".wgsl"))
  .sort();
const module = `// Generated from shaders/*.wgsl by \`node shaders/embed.mjs\`. Edit those files, not this one.
export const shaders = {
${files.map(property).join("")}} as const;
`;

let current = "";
try {
  current = readFileSync(target, "utf8").replaceAll("\r\n", "\n");
} catch {
  // Absent: it is out of date.
}
if (current !== module) {
  if (process.argv.includes("--check")) {
    console.error("src/backend/webgpu/shaders.generated.ts is out of date: run `npm run embed`.");
    process.exit(1);
  }
  mkdirSync(dirname(target), { recursive: true });
  writeFileSync(target, module);
}
