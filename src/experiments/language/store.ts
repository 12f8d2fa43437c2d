import { closeSync, existsSync, mkdirSync, readFileSync, writeSync } from "node:fs";
import { join } from "node:path";
import { replacing } from "../../base/replace.ts";

/** JSON by keys in a folder, a file for each: written beside its place and renamed, so that none is ever half there. */
export interface Store {
  /** What is there; undefined for what is not. */
  read(key: string): unknown;
  write(key: string, value: unknown): void;
}

export function storeIn(folder: string): Store {
  mkdirSync(folder, { recursive: true });
  const place = (key: string) => join(folder, `${key}.json`);
  return {
    read: (key) =>
      existsSync(place(key)) ? (JSON.parse(readFileSync(place(key), "utf8")) as unknown) : undefined,
    write: (key, value) => {
      const replacement = replacing(place(key));
      let failed = true;
      try {
        const file = replacement.create();
        try {
          writeSync(file, `${JSON.stringify(value)}\n`);
        } finally {
          closeSync(file);
        }
        replacement.commit();
        failed = false;
      } finally {
        replacement.end(failed);
      }
    },
  };
}
