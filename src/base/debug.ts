/**
 * Debug channels: `LORANTZ_DEBUG=schedule,kernel,time` prints kernels with the places of their values, generated
 * code, and what tuning measured, to stderr. Silent by default. In browsers set `globalThis.LORANTZ_DEBUG` before
 * loading.
 */
export type Channel = "schedule" | "kernel" | "time";

interface Environment {
  readonly process?: { readonly env?: Record<string, string | undefined> };
  readonly LORANTZ_DEBUG?: string;
}

/** A setting from the environment, or undefined where there is none (browsers). */
export function environment(name: string): string | undefined {
  return (globalThis as Environment).process?.env?.[name];
}

const enabled = new Set(
  (environment("LORANTZ_DEBUG") ?? (globalThis as Environment).LORANTZ_DEBUG ?? "")
    .split(",")
    .filter(Boolean),
);

export function debugging(channel: Channel): boolean {
  return enabled.has(channel);
}

export function debug(channel: Channel, text: () => string): void {
  if (enabled.has(channel)) console.error(`[${channel}] ${text()}`);
}
