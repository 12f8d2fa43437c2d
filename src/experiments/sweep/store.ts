import { createHash } from "node:crypto";
import type { Processor, Queue, Worker, WorkerOptions } from "bullmq";
import { LorantzError } from "../../base/errors.ts";
import { library } from "../../base/library.ts";

// Where queues are kept: Redis or PostgreSQL, both by BullMQ.

type Bull = typeof import("bullmq");

/** What is at the end of a URL of a queue, open. */
export interface Store {
  /** As it may be shown: without its password. */
  readonly name: string;
  readonly bull: Bull;
  queue(name: string): Queue;
  worker(name: string, processor: Processor, options: Omit<WorkerOptions, "connection">): Worker;
  /** Milliseconds by which the clock here is ahead of that of the server, where workers tell by clocks who is alive; else 0. */
  ahead(): Promise<number>;
  close(): Promise<void>;
}

/** Milliseconds that a server has for its first answer. */
const patience = 5000;

/**
 * Opens the store of a URL, redis:// or postgres://.
 *
 * @throws LorantzError for another URL, a package that is not installed, a server that does not answer, and a Redis that may
 *   throw away what it was given.
 */
export async function openStore(url: string): Promise<Store> {
  const kind = /^(redis|rediss|postgres|postgresql):\/\/./.exec(url)?.[1];
  const name = withoutPassword(url);
  if (kind === undefined || !URL.canParse(url))
    throw new LorantzError(
      `queue: "${name}" is no queue; it is redis://HOST:PORT or postgres://USER:PASSWORD@HOST:PORT/DATABASE, where @, : and / of a password are %40, %3A and %2F.`,
    );
  const bull = await library<Bull>("queue", "bullmq", "a queue", () => import("bullmq"));
  return kind.startsWith("redis") ? openRedis(url, name, bull) : openPostgres(url, name, bull);
}

/** The URL with its password, if it has one, not shown. */
export function withoutPassword(url: string): string {
  return url.replace(/^([a-z]+:\/\/[^/@:]*):.*@/i, "$1:***@");
}

/** The name of the queue of a version of the code: workers of another one never see its cells. */
export function queueOf(code: string): string {
  return `lorantz-${createHash("sha256").update(code).digest("hex").slice(0, 12)}`;
}

async function openRedis(url: string, name: string, bull: Bull): Promise<Store> {
  const { Redis } = await library<typeof import("ioredis")>(
    "queue",
    "ioredis",
    "a queue on Redis",
    () => import("ioredis"),
  );
  const probe = new Redis(url, { lazyConnect: true, connectTimeout: patience, retryStrategy: () => null });
  let reason: string | undefined;
  probe.on("error", (error) => {
    reason ??= error.message;
  });
  let info: string;
  try {
    await within(probe.connect());
    info = await within(probe.info("memory"));
  } catch (error) {
    reason ??= (error as Error).message;
    throw /^(WRONGPASS|NOAUTH|NOPERM|ERR) /.test(reason)
      ? refused(name, reason)
      : unreachable(name, reason, "Is redis-server running there?");
  } finally {
    probe.disconnect();
  }
  const policy = /^maxmemory_policy:(\S+)/m.exec(info)?.[1] ?? "noeviction";
  const bounded = Number(/^maxmemory:(\d+)/m.exec(info)?.[1] ?? 0) > 0;
  if (bounded && policy !== "noeviction")
    throw new LorantzError(
      `queue: ${name} throws away what it holds when memory is short (maxmemory-policy ${policy}). Start it with --maxmemory-policy noeviction.`,
    );
  const connection = {
    url,
    maxRetriesPerRequest: null,
    retryStrategy: (times: number) => Math.min(250 * times, 5000),
  };
  return {
    name,
    bull,
    queue: (of) => quiet(new bull.Queue(of, { connection })),
    worker: (of, processor, options) => new bull.Worker(of, processor, { ...options, connection }),
    ahead: async () => 0, // locks end by the server's clock
    close: async () => undefined,
  };
}

async function openPostgres(url: string, name: string, bull: Bull): Promise<Store> {
  const pg = await library<{ readonly default: typeof import("pg") }>(
    "queue",
    "pg",
    "a queue on PostgreSQL",
    () => import("pg"),
  );
  const { PostgresConnection, runMigrations, createPostgresBackend } = bull;
  const schema = "bullmq";
  const pool = new pg.default.Pool({
    connectionString: url,
    connectionTimeoutMillis: patience,
    options: `-c search_path=${schema}`,
    max: 8,
  });
  pool.on("error", () => undefined); // an idle connection that was lost; the next query opens another one
  try {
    const client = await pool.connect();
    try {
      await runMigrations(client, schema);
    } finally {
      client.release();
    }
  } catch (error) {
    await pool.end();
    const { message } = error as Error;
    throw error instanceof pg.default.DatabaseError
      ? refused(name, message)
      : unreachable(name, message, "Is PostgreSQL running there?");
  }
  type Connection = ConstructorParameters<typeof PostgresConnection>[0];
  const connection = pool as unknown as Connection; // BullMQ describes what it needs of a pool
  const { Queue, Worker } = bull.withBackend(createPostgresBackend);
  return {
    name,
    bull,
    queue: (of) => quiet(new Queue(of, { connection }) as unknown as Queue), // but for the backend behind it
    worker: (of, processor, options) =>
      new Worker(of, processor, { ...options, connection } as never) as unknown as Worker,
    ahead: async () => {
      const began = Date.now();
      const { rows } = await pool.query("SELECT extract(epoch FROM clock_timestamp()) * 1000 AS now");
      return (began + Date.now()) / 2 - Number(rows[0].now);
    },
    close: () => pool.end(),
  };
}

/** A queue whose lost connections are no news of their own: what fails for them is tried again by whoever wanted it. */
function quiet(queue: Queue): Queue {
  return queue.on("error", () => undefined);
}

function refused(name: string, reason: string): LorantzError {
  return new LorantzError(
    `queue: ${name} refuses us (${reason}). Look at user, password and database in the URL, and at what the user may do: on PostgreSQL, make a schema.`,
  );
}

function unreachable(name: string, reason: string, advice: string): LorantzError {
  return new LorantzError(`queue: ${name} does not answer (${reason}). ${advice}`);
}

async function within<T>(promise: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`no answer within ${patience / 1000} s`)), patience);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}
