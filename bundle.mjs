// The last step of `npm run build`: dist/browser.js in one piece, and the run bit of the command line.
import { chmodSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { build } from "vite";

const root = fileURLToPath(new URL(".", import.meta.url));

/** All of `lorantz/browser` as one module for pages without a bundler. */
export function bundle(entry, conditions, options) {
  return build({
    root,
    configFile: false,
    logLevel: "error",
    publicDir: false,
    resolve: { conditions: [...conditions, "browser", "module"] },
    build: {
      target: "es2022",
      modulePreload: false,
      minify: true,
      rolldownOptions: {
        input: entry,
        external: /^(@huggingface\/|yaml$)/, // optional: a page that reads tokenizers or YAML names them in its import map
        preserveEntrySignatures: "strict",
        output: { codeSplitting: false, entryFileNames: "lorantz.js" },
      },
      ...options,
    },
  });
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  await bundle("dist/browser.js", [], { outDir: "dist", emptyOutDir: false, sourcemap: true });
  chmodSync(`${root}dist/cli/main.js`, 0o755);
}
