import { createHash } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

/** The version in package.json, which lies two folders up both in src/ and in dist/. */
export function version(): string {
  const manifest: unknown = JSON.parse(readFileSync(new URL("../../package.json", import.meta.url), "utf8"));
  return (manifest as { version: string }).version; // npm demands the field
}

let code: string | undefined;

/** The version of the code itself, as it lay here when it was first asked for: with a change anywhere it is another one. */
export function codeVersion(): string {
  code ??= hashOfCode();
  return code;
}

function hashOfCode(): string {
  const root = fileURLToPath(new URL("../", import.meta.url));
  const names = readdirSync(root, { recursive: true, encoding: "utf8" }).filter((name) =>
    /(?<!\.d)\.[jt]s$/.test(name),
  );
  const hash = createHash("sha256");
  for (const name of names.sort()) hash.update(`${name}\n`).update(readFileSync(join(root, name)));
  return `${version()}+${hash.digest("hex").slice(0, 12)}`;
}
