// What `using` wants of the types of the language, for projects whose `lib` does not have it yet. The words are those of
// TypeScript's own library, which may be there too.

declare global {
  interface SymbolConstructor {
    readonly dispose: unique symbol;
  }
  interface Disposable {
    [Symbol.dispose](): void;
  }
}

export {};
