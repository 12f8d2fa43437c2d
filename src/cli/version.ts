import { readFileSync } from "node:fs";

/** The version in package.json, which lies two folders up both in src/ and in dist/. */
export function version(): string {
  const manifest: unknown = JSON.parse(readFileSync(new URL("../../package.json", import.meta.url), "utf8"));
  return (manifest as { version: string }).version; // npm demands the field
}
