import { internal } from "../../base/errors.ts";
import type { DeviceBuffer } from "../backend.ts";

/** A part of the memory. */
export class WasmBuffer implements DeviceBuffer {
  readonly bytes: number;
  readonly at: number;

  constructor(at: number, bytes: number) {
    this.at = at;
    this.bytes = bytes;
  }
}

export function wasmBuffer(buffer: DeviceBuffer): WasmBuffer {
  return buffer instanceof WasmBuffer ? buffer : internal("a buffer of another backend");
}
