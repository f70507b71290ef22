export function serveFolder(
  folder: string,
  options?: { readonly policy?: string | null; readonly isolated?: boolean },
): Promise<{ readonly address: string; readonly close: () => Promise<void> }>
