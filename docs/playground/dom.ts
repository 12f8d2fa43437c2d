// What every page does with its elements.

/** The element of an id that the page has. */
export const find = <E extends Element = HTMLElement>(id: string) =>
  document.getElementById(id) as unknown as E;

export function button(words: string, clicked: () => void): HTMLButtonElement {
  const made = Object.assign(document.createElement("button"), { type: "button", textContent: words });
  made.addEventListener("click", clicked);
  return made;
}

/** Puts a text into the clipboard, and says whether it went. */
export async function copy(text: string, said: HTMLElement): Promise<void> {
  try {
    await navigator.clipboard.writeText(text);
    said.textContent = "Copied.";
  } catch {
    said.textContent = "This browser does not let the page copy; select the text.";
  }
}

/** Offers a file to be kept. */
export function download(name: string, blob: Blob): void {
  const link = Object.assign(document.createElement("a"), {
    href: URL.createObjectURL(blob),
    download: name,
  });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}
