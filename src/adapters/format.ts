import type { Folder } from "../io/folder.ts";
import type { GgufFields } from "../io/gguf.ts";
import type { Metadata } from "../io/safetensors.ts";
import type { TensorFile } from "../io/tensor-file.ts";
import type { AdapterFile } from "./file.ts";

/** Files by name: texts, or bytes in pieces. */
export type Written = Readonly<Record<string, string | AsyncIterable<Uint8Array>>>;

export interface FormatOptions {
  /**
   * `config.json` of the base model, as an object: GGUF needs its architecture, and its numbers of heads where rows of q and
   * k are in another order.
   */
  readonly base?: Readonly<Record<string, unknown>>;
  /** Paths of the modules of the base model: kohya's names have lost their dots. */
  readonly paths?: readonly string[];
}

/** A tool's form of adapters as a few functions. */
interface AnyFormat {
  readonly tool: string;
  /** The same function as the format can say it. @throws ValueError naming what it has no place for. */
  readonly fit: (adapter: AdapterFile, options: FormatOptions) => Promise<AdapterFile>;
  /** What `fit` gave, as files. */
  readonly write: (adapter: AdapterFile, options: FormatOptions) => Written | Promise<Written>;
}

/** A folder with `adapter_config.json`. */
export interface FolderFormat extends AnyFormat {
  readonly isConfig: (config: Readonly<Record<string, unknown>>) => boolean;
  readonly open: (folder: Folder) => Promise<AdapterFile>;
}

/** A single file. */
export interface FileFormat<M extends Metadata | GgufFields> extends AnyFormat {
  readonly open: (file: TensorFile<M>, options: FormatOptions) => Promise<AdapterFile>;
}
