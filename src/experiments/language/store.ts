import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { ValueError } from "../../base/errors.ts";
import { keepIn, reasonOf } from "../../base/files.ts";
import { replaceText } from "../../base/replace.ts";

/** JSON by keys in a folder, a file for each: written beside its place and renamed, so that none is ever half there. */
export interface Store {
  /** What is there; undefined for what is not. @throws ValueError for a file that is no JSON. */
  read(key: string): unknown;
  write(key: string, value: unknown): void;
}

export function storeIn(folder: string): Store {
  keepIn(folder);
  const place = (key: string) => join(folder, `${key}.json`);
  return {
    read: (key) => {
      if (!existsSync(place(key))) return undefined;
      try {
        return JSON.parse(readFileSync(place(key), "utf8")) as unknown;
      } catch (error) {
        throw new ValueError(
          `${place(key)}: cannot be read as a result (${reasonOf(error)}). Remove the file, and it is made again.`,
        );
      }
    },
    write: (key, value) => replaceText(place(key), `${JSON.stringify(value)}\n`),
  };
}
