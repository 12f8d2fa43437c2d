import { freemem } from "node:os";
import type { Device } from "../runtime/device.ts";
import type { MemoryPlan } from "../tensor/compile.ts";
import { UsageError } from "./usage.ts";

/** Bytes as people read them. */
export function bytesText(bytes: number): string {
  const units = ["bytes", "kB", "MB", "GB", "TB"];
  const power = Math.min(units.length - 1, Math.max(0, Math.floor(Math.log10(Math.max(bytes, 1)) / 3)));
  const value = bytes / 1000 ** power;
  return `${power === 0 || value >= 100 ? Math.round(value) : value.toPrecision(3)} ${units[power]}`;
}

/** What a plan holds in all. */
export function totalOf({ inputs, intermediates, results }: MemoryPlan): number {
  return inputs + intermediates + results;
}

/** Bytes that a run may have: the device's budget, and on the CPU what the machine has left beside what is held already. */
export function memoryLeft(device: Device, held: number): number {
  if (device.name !== "cpu") return device.maxBytes;
  const available = (process as { availableMemory?: () => number }).availableMemory?.() ?? freemem();
  return Math.min(device.maxBytes, available + held);
}

/** @throws UsageError if a plan takes more than there is, with what would take less. */
export function checkMemory(needed: number, left: number, advice: string): void {
  if (needed <= left) return;
  throw new UsageError(
    `a step needs about ${bytesText(needed)} of memory, and there are ${bytesText(left)}. ${advice}`,
  );
}
