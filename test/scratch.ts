import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll } from "vitest";

/** Folders for the tests of a file: one for all, which goes when they have run, and in it a new one for each call. */
export function scratch(name: string): { readonly root: string; readonly fresh: () => string } {
  const root = mkdtempSync(join(tmpdir(), `lorantz-${name}-`));
  // A process that was killed may still be writing.
  afterAll(() => rmSync(root, { recursive: true, maxRetries: 10, retryDelay: 100 }));
  let count = 0;
  return {
    root,
    fresh: () => {
      const folder = join(root, String(count++));
      mkdirSync(folder);
      return folder;
    },
  };
}
