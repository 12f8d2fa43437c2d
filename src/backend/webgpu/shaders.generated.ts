// Generated from shaders/*.wgsl by `node shaders/embed.mjs`. Edit those files, not this one.
export const shaders = {
} as const;
