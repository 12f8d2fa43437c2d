import { isPlainObject, show } from "../base/arguments.ts";
import { ValueError } from "../base/errors.ts";
import { library } from "../base/library.ts";

/** One turn of a conversation. */
export interface Message {
  /** "system", "user", "assistant", "tool", ... */
  readonly role: string;
  readonly content: string;
}

/** Writes a conversation as one text. */
export interface ChatTemplate {
  /** With `reply` up to where the assistant's next turn begins. */
  render(messages: readonly Message[], options?: { readonly reply?: boolean }): string;
}

interface Library {
  readonly Template: new (text: string) => { render(values: Record<string, unknown>): string };
}

/**
 * The template of a tokenizer's configuration: a text in Jinja, or a list of them of which the one named "default" counts.
 *
 * @throws LorantzError without the package `@huggingface/jinja`; ValueError for a template that is none.
 */
export async function chatOf(
  where: string,
  given: unknown,
  special: { readonly [name: string]: string },
): Promise<ChatTemplate> {
  const named: unknown = Array.isArray(given)
    ? (given as readonly { readonly name?: unknown; readonly template?: unknown }[]).find(
        (each) => each?.name === "default",
      )?.template
    : given;
  if (typeof named !== "string")
    throw new ValueError(
      `${where}: chat_template is ${show(given)}; it is a text in Jinja, or a list with a "default".`,
    );
  let template: InstanceType<Library["Template"]> | undefined;
  const { Template } = await library<Library>(
    "text",
    "@huggingface/jinja",
    "chat_template",
    () => import("@huggingface/jinja"),
  );
  return {
    render: (messages, { reply = false } = {}) => {
      try {
        template ??= new Template(named);
        return template.render({ messages, add_generation_prompt: reply, ...special });
      } catch (error) {
        throw new ValueError(
          `${where}: the chat template refuses these messages (${(error as Error).message}).`,
        );
      }
    },
  };
}

/** Messages as a file has them. @throws ValueError saying what is wrong. */
export function messagesOf(value: unknown): readonly Message[] {
  if (!Array.isArray(value) || value.length === 0)
    throw new ValueError(`messages is ${show(value)}; it is a list of { role, content }, one at least`);
  value.forEach((each: unknown, i) => {
    const { role, content } = isPlainObject(each) ? each : {};
    if (typeof role !== "string" || typeof content !== "string")
      throw new ValueError(`messages[${i}] is ${show(each)}; it is { role, content }, both texts`);
  });
  return value as readonly Message[]; // just checked
}
