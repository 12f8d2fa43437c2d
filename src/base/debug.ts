/**
 * Debug channels: `LORANTZ_DEBUG=schedule,kernel,time` prints kernels with the places of their values, generated
 * code, and what tuning measured, to stderr. Silent by default. In browsers set `globalThis.LORANTZ_DEBUG` before
 * loading.
 */
export type Channel = "schedule" | "kernel" | "time";

interface Environment {
  readonly Deno?: {
    readonly permissions: {
      querySync(of: { readonly name: "env"; readonly variable: string }): { readonly state: string };
    };
  };
  readonly process?: { readonly env?: Record<string, string | undefined> };
  readonly LORANTZ_DEBUG?: string;
}

/** A setting from the environment, or undefined where there is none (browsers) or it may not be read (Deno). */
export function environment(name: string): string | undefined {
  const { Deno, process } = globalThis as Environment;
  if (Deno && Deno.permissions.querySync({ name: "env", variable: name }).state !== "granted")
    return undefined;
  return process?.env?.[name];
}

/** Read when something may be printed, and not before. */
let enabled: ReadonlySet<string> | undefined;

export function debugging(channel: Channel): boolean {
  enabled ??= new Set(
    (environment("LORANTZ_DEBUG") ?? (globalThis as Environment).LORANTZ_DEBUG ?? "")
      .split(",")
      .filter(Boolean),
  );
  return enabled.has(channel);
}

export function debug(channel: Channel, text: () => string): void {
  if (debugging(channel)) console.error(`[${channel}] ${text()}`);
}
